#!/usr/bin/env bash
# deploy.sh CHANNEL IMAGE [RELEASE]: bring an image, and a release if one is named, to a channel; check it; put both back where the check fails.
# Exit code 0: it serves. 1: refused, or it failed and what was there before serves again. 4: putting it back failed too.
# It asks touchstone, kubectl, and the scripts beside it (smoke.sh, sign.sh, approved.sh, champion.sh, put_back.sh).
set -euo pipefail
channel="${1:?which channel: dev, staging or prod}"
image="${2:?REGISTRY/NAME@sha256:…}"
release="${3:-}"
here="$(cd "$(dirname "$0")" && pwd)"
url="${TOUCHSTONE_URL:?the address of the channel}"
overlay="$here/../kubernetes/overlays/$channel/kustomization.yaml"
namespace="${NAMESPACE:-$(sed -n 's/^namespace: //p' "$overlay" 2> /dev/null || true)}"
deployment="deployment/${DEPLOYMENT:-touchstone-api}"
patience="${PATIENCE:-600s}"

say() { echo "deploy: $*"; }
fail() {
  echo "deploy: $*" >&2
  exit 1
}

if [[ ! "$image" =~ @sha256:[0-9a-f]{64}$ ]]; then fail "$image is not named by its digest: a tag can be moved"; fi
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

# nothing has been touched when this refuses
"$here/sign.sh" --verify "$image" || fail "$channel goes on with $image_before"
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
jq -n --arg namespace "$namespace" --arg deployment "$deployment" --arg image "$image_before" --arg release "$before" \
  '{namespace: $namespace, deployment: $deployment, image: $image, release: $release}' > "before-$channel.json"
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
kubectl --namespace "$namespace" set image "$deployment" "*=$image" || undo "the image could not be set"
kubectl --namespace "$namespace" rollout status "$deployment" "--timeout=$patience" || undo "the rollout did not end in time"
"$here/smoke.sh" "$url" "${release:-$before}" || undo "the smoke test failed"
code=0
touchstone channel evaluate "$channel" || code=$?
case "$code" in
  0) ;;
  1) undo "what is served is worse than what was promoted" ;;
  *) undo "what is served could not be evaluated (exit code $code)" ;;
esac
rm "before-$channel.json"
say "$channel serves ${release:-$before} by $image"
