#!/usr/bin/env bash
# approved.sh CHANNEL RELEASE: approve a release for a channel in the name of whoever approved this run's environment; exit 1 where nobody did.
# An environment without required reviewers lets every run through: then there is no approval to be found, and this refuses.
set -euo pipefail
channel="${1:?which channel}"
release="${2:?which release}"
approval="$(gh api "repos/${GITHUB_REPOSITORY:?}/actions/runs/${GITHUB_RUN_ID:?}/approvals" \
  | jq -c --arg environment "$channel" '[.[] | select(.state == "approved") | select(any(.environments[]; .name == $environment))] | last // empty')"
if [ -z "$approval" ]; then
  echo "approved: nobody has approved this run for $channel. Give its environment required reviewers, and run it again." >&2
  exit 1
fi
who="$(jq -r '.user.login' <<< "$approval")"
touchstone channel approve "$channel" "$release" --why "approved by $who in run ${GITHUB_RUN_ID}"
echo "approved: $release for $channel by $who"
