#!/usr/bin/env bash
# deploy.sh CHANNEL IMAGE [RELEASE]: bring an image, and a release if one is named, to a channel; check it; put both back where the check fails.
# Exit code 0: it serves. 1: refused, or it failed and what was there before serves again. 4: putting it back failed too.
# It asks touchstone, kubectl, and the scripts beside it (smoke.sh, sign.sh, approved.sh).
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
case "$channel" in dev | staging | prod) ;; *) fail "no channel '$channel'; known: dev, staging, prod" ;; esac

# what serves now, to come back to
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! state="$(touchstone channel show "$channel" --json 2> "$log")"; then
  if ! grep -q "points at nothing yet" "$log"; then fail "nobody knows what $channel serves: $(cat "$log")"; fi
  state='{}'
fi
before="$(jq -r '.stable // ""' <<< "$state")"
image_before="$(kubectl --namespace "$namespace" get "$deployment" --output 'jsonpath={.spec.template.spec.containers[0].image}')"

# nothing has been touched when this refuses
"$here/sign.sh" --verify "$image" || fail "$channel goes on with $image_before"
if [ "$channel" = prod ]; then "$here/approved.sh" prod "${release:-$before}" || fail "$channel goes on with $image_before and $before"; fi

moved=no
undo() {
  local failed=no
  trap '' INT TERM  # once begun, it is ended
  echo "deploy: $1; putting back $image_before${before:+ and $before}" >&2
  if [ "$moved" = yes ] && [ -n "$before" ]; then
    touchstone release rollback --channel "$channel" --to "$before" --why "$1" || failed=yes
  fi
  kubectl --namespace "$namespace" set image "$deployment" "*=$image_before" || failed=yes
  kubectl --namespace "$namespace" rollout status "$deployment" "--timeout=$patience" || failed=yes
  "$here/smoke.sh" "$url" "$before" || failed=yes
  if [ "$failed" = yes ]; then
    echo "deploy: it could not be put back; $channel needs somebody now. Runbook: docs/runbooks/NotReady.md" >&2
    exit 4
  fi
  fail "$channel is as it was"
}

trap 'undo "it was cancelled"' INT TERM
if [ -n "$release" ] && [ "$release" != "$before" ]; then
  touchstone promote "$release" --channel "$channel" || fail "$release does not go to $channel, which goes on with $before"
  moved=yes
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
say "$channel serves ${release:-$before} by $image"
