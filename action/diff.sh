#!/usr/bin/env bash
# Compare the image with AGAINST or the first of DESTINATIONS, and write the report into the job's
# summary and into a file. It is an error if the update is larger than MAX_UPDATE.
set -eo pipefail

read -r -d '' first _ <<< "$DESTINATIONS" || true
old=${AGAINST:-$first}
if [[ -z $SPEC ]]; then
  compare=(nix run "$IMAGE.diff" -- "$old")
else
  compare=(nixdock diff "$old" "$SPEC")
fi
compare+=(--format markdown)
if [[ -n $MAX_UPDATE ]]; then compare+=(--fail-over "$MAX_UPDATE"); fi
if [[ -n $USERNAME ]]; then compare+=(--username "$USERNAME" --password-stdin); fi

report=$RUNNER_TEMP/nixdock-diff.md
errors=$RUNNER_TEMP/nixdock-diff.log
status=0
"${compare[@]}" <<< "$PASSWORD" > "$report" 2> "$errors" || status=$?
cat "$errors" >&2

if [[ -s $report ]]; then
  cat "$report" >> "$GITHUB_STEP_SUMMARY"
  echo "report=$report" >> "$GITHUB_OUTPUT"
  exit "$status"
fi
# A limit that can't be checked is not kept, unless this is the first image.
if [[ -n $MAX_UPDATE ]] && ! grep --quiet ' has no image ' "$errors"; then exit "$status"; fi
echo "::warning title=nixdock::nothing to compare with: $(tail -n 1 "$errors")"
