#!/usr/bin/env bash
# smoke_job.sh NAMESPACE CRONJOB: whether a pod of a CronJob's image starts, and reads with its own rights what its channel serves. It does nothing else.
set -euo pipefail
namespace="${1:?which namespace}"
cronjob="${2:?which CronJob}"
job="smoke-$cronjob-$(date +%s)"
# without an owner: what it does is no run of the CronJob, and nothing counts it as one
made="$(kubectl --namespace "$namespace" create job "$job" "--from=cronjob/$cronjob" --dry-run=client --output json |
  jq 'del(.metadata.ownerReferences) | .spec.backoffLimit = 0
    | .spec.template.spec.containers[0] |= (.command = ["touchstone", "channel", "show", "$(TOUCHSTONE_CHANNEL)", "--json"] | del(.args))')"
kubectl --namespace "$namespace" create --filename - <<< "$made" > /dev/null
trap 'kubectl --namespace "$namespace" delete "job/$job" --wait=false > /dev/null || true' EXIT
state=""
for _ in $(seq "${TRIES:-60}"); do
  state="$(kubectl --namespace "$namespace" get "job/$job" --output json | jq -r '[.status.conditions[]? | select(.status == "True") | .type] | join(" ")')"
  case "$state" in *Complete* | *Failed*) break ;; esac
  sleep "${POLL_S:-10}"
done
if [[ "$state" != *Complete* ]]; then
  echo "smoke: a job of $namespace does not run by the image of $cronjob: ${state:-it has not ended in time}" >&2
  kubectl --namespace "$namespace" logs "job/$job" --tail=20 >&2 || true
  exit 1
fi
echo "smoke: jobs of $namespace run by the image of $cronjob"
