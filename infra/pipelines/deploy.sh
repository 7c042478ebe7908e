#!/usr/bin/env bash
# deploy.sh CHANNEL IMAGE HARNESS [RELEASE]: bring the image of the servers, that of the CronJobs, and a release if one is named, to a channel; check
# it; put all of it back where the check fails. An image that is empty stays as it is.
# Exit code 0: it serves. 1: refused, or it failed and what was there before serves again. 4: putting it back failed too.
# It asks touchstone, kubectl, and the scripts beside it (smoke.sh, smoke_job.sh, sign.sh, approved.sh, champion.sh, put_back.sh).
set -euo pipefail
channel="${1:?which channel: dev, staging or prod}"
image="${2?REGISTRY/NAME@sha256:…; empty: the servers keep theirs}"
harness="${3?REGISTRY/NAME@sha256:…; empty: the CronJobs keep theirs}"
release="${4:-}"
here="$(cd "$(dirname "$0")" && pwd)"
overlay="$here/../kubernetes/overlays/$channel/kustomization.yaml"
namespace="${NAMESPACE:-$(sed -n 's/^namespace: //p' "$overlay" 2> /dev/null || true)}"
url="${TOUCHSTONE_URL:-cluster:$namespace}"
deployment="deployment/${DEPLOYMENT:-touchstone-api}"
patience="${PATIENCE:-600s}"

say() { echo "deploy: $*"; }
fail() {
  echo "deploy: $*" >&2
  exit 1
}

for one in "$image" "$harness"; do
  if [[ -n "$one" && ! "$one" =~ @sha256:[0-9a-f]{64}$ ]]; then fail "$one is not named by its digest: a tag can be moved"; fi
done
if [ -z "$image$harness$release" ]; then fail "neither an image nor a release is named"; fi
if [[ ! "$release" =~ ^[0-9a-z]*$ ]]; then fail "'$release' is no release's digest"; fi
case "$channel" in dev | staging | prod) ;; *) fail "no channel '$channel'; known: dev, staging, prod" ;; esac

# what serves now, to come back to
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! state="$(touchstone channel show "$channel" --json 2> "$log")"; then
  if ! grep -q "points at nothing yet" "$log"; then fail "nobody knows what $channel serves: $(cat "$log")"; fi
  state='{}'
fi
before="$(jq -r '.stable // ""' <<< "$state")"
if [ -z "${release:-$before}" ]; then fail "$channel serves no release yet: name one to promote along with the image"; fi
image_before="$(kubectl --namespace "$namespace" get "$deployment" --output 'jsonpath={.spec.template.spec.containers[0].image}')"
jobs_before="$(kubectl --namespace "$namespace" get cronjobs --output json |
  jq -c '[.items[] | {key: .metadata.name, value: .spec.jobTemplate.spec.template.spec.containers[0].image}] | from_entries')"
if [ "$(kubectl --namespace "$namespace" get "$deployment" --output 'jsonpath={.spec.replicas}')" = 0 ]; then
  fail "$channel sleeps, as its hours have it, and nobody would answer the check. Wake it first: infra/pipelines/README.md"
fi
mapfile -t jobs < <(jq -r 'keys[]' <<< "$jobs_before")
if [ -n "$harness" ] && [ "${#jobs[@]}" = 0 ]; then fail "$namespace has no CronJob that could run $harness: apply the overlay first"; fi

# nothing has been touched when this refuses
for one in "$image" "$harness"; do
  if [ -n "$one" ]; then "$here/sign.sh" --verify "$one" || fail "$channel goes on with $image_before"; fi
done
if [ "$channel" = prod ]; then "$here/approved.sh" prod "${release:-$before}" || fail "$channel goes on with $image_before${before:+ and $before}"; fi

# a release is held against what this channel serves today
gate="$(cd "$here/../.." && pwd)/experiments/gates/promotion.yaml"
decision=()
if [ -n "$release" ] && [ "$release" != "$before" ]; then
  "$here/champion.sh" "$channel" "$gate" || fail "what $channel serves could not be evaluated, to be compared with; it goes on"
  code=0
  touchstone gate "$gate" --candidate "$release" --out reports/gates/deploy || code=$?
  case "$code" in
    0) decision=(--decision reports/gates/deploy/decision.json) ;;
    1) fail "$release does not pass the gate; $channel goes on with ${before:-nothing}" ;;
    *) fail "$release could not be held against the gate (exit code $code); $channel goes on with ${before:-nothing}" ;;
  esac
fi

# written down for put_back.sh, which puts it back also where this script is killed
jq -n --arg namespace "$namespace" --arg deployment "$deployment" --arg image "$image_before" --argjson jobs "$jobs_before" --arg release "$before" \
  '{namespace: $namespace, deployment: $deployment, image: $image, jobs: $jobs, release: $release}' > "before-$channel.json"
undo() {
  trap '' INT TERM
  "$here/put_back.sh" "$channel" "$1" || exit $?
  exit 1
}

trap 'undo "it was cancelled"' INT TERM
if [ -n "$release" ] && [ "$release" != "$before" ] && ! touchstone promote "$release" --channel "$channel" "${decision[@]}"; then
  now="$(touchstone channel show "$channel" --json 2> /dev/null | jq -r '.stable // ""' || true)"
  if [ "$now" = "$release" ]; then undo "$release was promoted, and promoting it failed after that"; fi
  rm "before-$channel.json"
  fail "$release does not go to $channel, which goes on with ${before:-nothing}"
fi
if [ -n "$harness" ]; then
  for job in "${jobs[@]}"; do
    kubectl --namespace "$namespace" set image "cronjob/$job" "*=$harness" || undo "the image of the job $job could not be set"
  done
fi
if [ -n "$image" ]; then
  kubectl --namespace "$namespace" set image "$deployment" "*=$image" || undo "the image could not be set"
  kubectl --namespace "$namespace" rollout status "$deployment" "--timeout=$patience" || undo "the rollout did not end in time"
fi
"$here/smoke.sh" "$url" "${release:-$before}" || undo "the smoke test failed"
if [ -n "$harness" ]; then "$here/smoke_job.sh" "$namespace" "${jobs[0]}" || undo "the smoke test of the jobs failed"; fi
code=0
touchstone channel evaluate "$channel" || code=$?
case "$code" in
  0) ;;
  1) undo "what is served is worse than what was promoted" ;;
  *) undo "what is served could not be evaluated (exit code $code)" ;;
esac
rm "before-$channel.json"
say "$channel serves ${release:-$before} by ${image:-$image_before}${harness:+; its jobs run $harness}"
