#!/usr/bin/env bash
# sign.sh IMAGE: sign an image by its digest, and attest what it is made of (CycloneDX, from uv.lock), with the workflow's own identity.
# sign.sh --verify IMAGE: refuse an image that this repository's workflow has not signed. IDENTITY is a pattern of the workflow's address.
set -euo pipefail
verify=no
if [ "${1:-}" = --verify ]; then
  verify=yes
  shift
fi
image="${1:?REGISTRY/NAME@sha256:…}"
if [[ ! "$image" =~ @sha256:[0-9a-f]{64}$ ]]; then
  echo "sign: $image is not named by its digest: a tag can be moved" >&2
  exit 2
fi
if [ "$verify" = yes ]; then
  if ! cosign verify --certificate-oidc-issuer https://token.actions.githubusercontent.com \
    --certificate-identity-regexp "${IDENTITY:?whose signature}" "$image" > /dev/null; then
    echo "sign: $image bears no signature of $IDENTITY, so it is not deployed" >&2
    exit 1
  fi
  echo "sign: $image is signed"
  exit 0
fi
uv export --quiet --locked --no-dev --extra serve --extra otlp --extra redis --extra bedrock --format cyclonedx1.5 --output-file sbom.json > /dev/null
cosign sign --yes "$image"
cosign attest --yes --type cyclonedx --predicate sbom.json "$image"
