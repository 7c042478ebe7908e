#!/usr/bin/env bash
# sign.sh IMAGE: attest what an image is made of (CycloneDX: what its Dockerfile installs, as uv.lock has it; RECIPE=harness: the harness's), and sign it
# by its digest, with the workflow's own identity. The signature comes last: who bears one is attested too, and is left as it is.
# sign.sh --verify IMAGE: refuse an image that this repository's workflow has not signed. IDENTITY is a pattern of the workflow's address.
set -euo pipefail
verify=no
if [ "${1:-}" = --verify ]; then
  verify=yes
  shift
fi
image="${1:?REGISTRY/NAME@sha256:…}"
root="${ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
recipe="$root/infra/docker/${RECIPE:-serving}.Dockerfile"
signed() {
  cosign verify --certificate-oidc-issuer https://token.actions.githubusercontent.com \
    --certificate-identity-regexp "${IDENTITY:?whose signature}" "$image" > /dev/null
}
if [[ ! "$image" =~ @sha256:[0-9a-f]{64}$ ]]; then
  echo "sign: $image is not named by its digest: a tag can be moved" >&2
  exit 2
fi
if [ "$verify" = yes ]; then
  if ! signed; then
    echo "sign: $image bears no signature of $IDENTITY, so it is not deployed" >&2
    exit 1
  fi
  echo "sign: $image is signed"
  exit 0
fi
mapfile -t parts < <(grep -oE -- '--(group|extra) [a-z]+' "$recipe" | tr ' ' '\n')
read -r -a extras < <(sed -n 's/^ARG EXTRAS="\(.*\)"$/\1/p' "$recipe") || true  # the harness's names them where it installs
for extra in ${extras[@]+"${extras[@]}"}; do parts+=(--extra "$extra"); done
uv export --quiet --locked --no-default-groups "${parts[@]}" --format cyclonedx1.5 --output-file sbom.json > /dev/null
if [ -n "${IDENTITY:-}" ] && signed 2> /dev/null; then
  echo "sign: $image is signed already"
  exit 0
fi
cosign attest --yes --type cyclonedx --predicate sbom.json "$image"
cosign sign --yes "$image"
