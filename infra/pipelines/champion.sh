#!/usr/bin/env bash
# champion.sh CHANNEL GATE: record what a channel serves as what the gate holds a successor against, since a runner has no record of before.
# Exit code 0: it is recorded, or the channel serves nothing yet.
set -euo pipefail
channel="${1:?which channel}"
gate="${2:?a gate file}"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! state="$(touchstone channel show "$channel" --json 2> "$log")"; then
  if grep -q "points at nothing yet" "$log"; then exit 0; fi
  cat "$log" >&2
  exit 3
fi
touchstone champion set "$gate" --release "$(jq -r '.stable' <<< "$state")"
