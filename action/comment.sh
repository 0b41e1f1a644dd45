#!/usr/bin/env bash
# Write the file REPORT into the comment on the pull request NUMBER that this action made for the
# image IMAGE, or into a new one.
set -eo pipefail

marker="<!-- nixdock: ${IMAGE//--/- -} -->"
comments=$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/issues

# The token is no argument, which other processes could read.
ask() {
  curl --silent --show-error --fail-with-body --retry 3 --config - "$@" <<< \
    "header = \"Authorization: Bearer $TOKEN\""
}

# A pull request from a fork has a token that may not write, and others may not even read; the
# comparison is in the summary of the job, too.
give_up() {
  echo "::warning title=nixdock::can't comment: $(jq -r '.message? // empty' <<< "$1")"
  exit
}

own=
page=1
until [[ -n $own ]]; do
  found=$(ask "$comments/$NUMBER/comments?per_page=100&page=$page") || give_up "$found"
  own=$(jq -r --arg marker "$marker" \
    '[.[] | select(.body | startswith($marker))][0].url // empty' <<< "$found")
  if (($(jq length <<< "$found") < 100)); then break; fi
  page=$((page + 1))
done

# A comment has at most 65,536 characters.
body=$RUNNER_TEMP/nixdock-comment.json
jq --null-input --rawfile report "$REPORT" --arg marker "$marker" \
  '{body: ($marker + "\n" + if ($report | length) < 60000 then $report
    else $report[:60000] + "\n\n(cut; the summary of the job has all of it)" end)}' > "$body"

if [[ -n $own ]]; then
  method=PATCH url=$own
else
  method=POST url=$comments/$NUMBER/comments
fi
answer=$(ask --request "$method" "$url" --data "@$body") || give_up "$answer"
