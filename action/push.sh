#!/usr/bin/env bash
# Push the image to DESTINATIONS, and give its digest to later steps.
set -eo pipefail

read -r -d '' -a references <<< "$DESTINATIONS" || true
if [[ -z $SPEC ]]; then
  push=(nix run "$IMAGE.push" --)
else
  push=(nixdock push "$SPEC")
fi
push+=("${references[@]}" --json)
if [[ -n $USERNAME ]]; then push+=(--username "$USERNAME" --password-stdin); fi

result=$("${push[@]}" <<< "$PASSWORD")
jq -r '"digest=\(.digest)", "reference=\(.references[0])"' <<< "$result" >> "$GITHUB_OUTPUT"
jq -r '"Pushed \(.references | map("`\(.)`") | join(", ")): \(.bytes_sent) bytes sent."' \
  <<< "$result" >> "$GITHUB_STEP_SUMMARY"
