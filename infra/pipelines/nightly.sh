#!/usr/bin/env bash
# nightly.sh CHANNEL: evaluate what a channel serves again, and say how it went in the summary of the run; a channel that serves nothing is no failure.
set -euo pipefail
channel="${1:?which channel}"
summary="${GITHUB_STEP_SUMMARY:-/dev/stdout}"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! state="$(touchstone channel show "$channel" --json 2> "$log")"; then
  cat "$log" >&2
  if grep -q "points at nothing yet" "$log"; then
    echo "- **$channel** serves nothing yet" >> "$summary"
    exit 0
  fi
  exit 3
fi
release="$(jq -r '.stable' <<< "$state")"
code=0
touchstone channel evaluate "$channel" || code=$?
case "$code" in
  0) echo "- **$channel**: $release is as good as when it was promoted" >> "$summary" ;;
  1)
    echo "- **$channel**: $release is worse than when it was promoted. Go back: \`touchstone release rollback --channel $channel\`" >> "$summary"
    echo "::error title=$channel got worse::$release is worse than when it was promoted"
    ;;
  *)
    echo "- **$channel**: could not be evaluated (exit code $code)" >> "$summary"
    echo "::error title=Not evaluated::$channel could not be evaluated; nothing was judged"
    ;;
esac
exit "$code"
