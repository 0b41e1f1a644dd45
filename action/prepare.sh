#!/usr/bin/env bash
# Build the spec of the image IMAGE of a flake; or, for the file SPEC, install nixdock if need be.
set -eo pipefail

if [[ -z $SPEC ]]; then
  nix build --no-link "$IMAGE.conf" "$IMAGE.diff" "$IMAGE.push"
elif ! command -v nixdock > /dev/null; then
  pipx install --quiet "$GITHUB_ACTION_PATH"
fi
