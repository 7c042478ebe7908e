#!/usr/bin/env bash
# off_hours.sh pause|resume: take the cluster down for the night, or bring it back. OFF_HOURS=true switches it on; a file HOLD in the root of
# the repository keeps it up, and a pause waits half an hour for a deploy that is under way.
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
if [ "$what" = pause ] && [ -n "${GITHUB_REPOSITORY:-}" ]; then
  tries="${TRIES:-60}"
  for try in $(seq 0 "$tries"); do
    deploys="$(gh api "repos/$GITHUB_REPOSITORY/actions/workflows/deploy.yml/runs?status=in_progress" | jq '.total_count')"
    if [ "$deploys" = 0 ]; then break; fi  # one that waits for an approval is not in progress
    if [ "$try" = "$tries" ]; then
      echo "off_hours: a deploy is under way: the cluster stays up. When it has ended: run the workflow infra by hand, pause" >&2
      exit 1
    fi
    sleep "${POLL_S:-30}"
  done
fi
make --directory "$root" "$what"
