#!/usr/bin/env bash
# off_hours.sh pause|resume: take the cluster down for the night, or bring it back. OFF_HOURS=true switches it on; a file HOLD in the root of
# the repository keeps it up.
set -euo pipefail
what="${1:?pause or resume}"
root="${ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
case "$what" in pause | resume) ;; *) echo "off_hours: '$what' is neither pause nor resume" >&2; exit 2 ;; esac
if [ "${BY_HAND:-false}" != true ]; then
  if [ "${OFF_HOURS:-}" != true ]; then
    echo "off_hours: the variable OFF_HOURS is not true: nothing to do"
    exit 0
  fi
  if [ "$what" = pause ] && [ -e "$root/HOLD" ]; then
    echo "off_hours: HOLD is there: the cluster stays up"
    exit 0
  fi
fi
make --directory "$root" "$what"
