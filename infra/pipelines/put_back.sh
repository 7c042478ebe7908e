#!/usr/bin/env bash
# put_back.sh CHANNEL WHY: put back the release and the images that deploy.sh wrote down before it changed them, where it has not ended well since.
# Exit code 0: there is nothing to put back. 1: what was there before serves again. 4: it could not be put back.
set -euo pipefail
channel="${1:?which channel}"
why="${2:?why}"
here="$(cd "$(dirname "$0")" && pwd)"
before="before-$channel.json"
if [ ! -f "$before" ]; then exit 0; fi
namespace="$(jq -r '.namespace' "$before")"
url="${TOUCHSTONE_URL:-cluster:$namespace}"
deployment="$(jq -r '.deployment' "$before")"
image="$(jq -r '.image' "$before")"
release="$(jq -r '.release' "$before")"
patience="${PATIENCE:-600s}"
failed=no
trap '' INT TERM  # once begun, it is ended
echo "deploy: $why; putting back $image, the jobs' image${release:+ and $release}" >&2

now="$(touchstone channel show "$channel" --json | jq -r '.stable // ""' || true)"
if [ -n "$release" ] && [ "$now" != "$release" ]; then
  touchstone release rollback --channel "$channel" --to "$release" --why "$why" || failed=yes
fi
while IFS=$'\t' read -r job was; do
  kubectl --namespace "$namespace" set image "cronjob/$job" "*=$was" < /dev/null || failed=yes
done < <(jq -r '.jobs | to_entries[] | "\(.key)\t\(.value)"' "$before")
kubectl --namespace "$namespace" set image "$deployment" "*=$image" || failed=yes
kubectl --namespace "$namespace" rollout status "$deployment" "--timeout=$patience" || failed=yes
"$here/smoke.sh" "$url" "$release" || failed=yes
if [ "$failed" = yes ]; then
  echo "deploy: it could not be put back; $channel needs somebody now. Runbook: docs/runbooks/NotReady.md" >&2
  exit 4
fi
rm "$before"
if [ -z "$release" ] && [ -n "$now" ]; then
  echo "deploy: the images are as they were; $channel had no release before, and keeps $now" >&2
else
  echo "deploy: $channel is as it was" >&2
fi
exit 1
