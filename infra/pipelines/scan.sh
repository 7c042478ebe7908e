#!/usr/bin/env bash
# scan.sh IMAGE: wait for ECR's scan of REGISTRY/NAME@sha256:…; exit 1 where it found what is critical or high.
# ALLOWED names findings that are known and accepted, such as "CVE-2026-1 CVE-2026-2".
set -euo pipefail
image="${1:?REGISTRY/NAME@sha256:…}"
name="${image#*/}"
digest="${name#*@}"
name="${name%@*}"
if [[ ! "$digest" =~ ^sha256:[0-9a-f]{64}$ ]]; then
  echo "scan: $image is not named by its digest" >&2
  exit 2
fi
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
for _ in $(seq "${TRIES:-60}"); do
  found="$(aws ecr describe-image-scan-findings --repository-name "$name" --image-id "imageDigest=$digest" --output json 2> "$log")" || found='{}'
  state="$(jq -r '.imageScanStatus.status // "PENDING"' <<< "$found")"
  case "$state" in
    COMPLETE | ACTIVE) break ;;
    FAILED | UNSUPPORTED_IMAGE)
      echo "scan: ECR could not scan $image: $state" >&2
      exit 3
      ;;
  esac
  sleep "${POLL_S:-10}"
done
if [ "$state" != COMPLETE ] && [ "$state" != ACTIVE ]; then
  echo "scan: ECR has not scanned $image in time. $(cat "$log")" >&2
  exit 3
fi
bad="$(jq -r --arg allowed "${ALLOWED:-}" '($allowed | split(" ")) as $known
  | [.imageScanFindings | (.findings // [])[] | {name, severity}] + [(.imageScanFindings.enhancedFindings // [])[] | {name: .packageVulnerabilityDetails.vulnerabilityId, severity}]
  | .[] | select(.severity == "CRITICAL" or .severity == "HIGH") | select(.name as $n | $known | index($n) | not) | "\(.severity) \(.name)"' <<< "$found")"
if [ -n "$bad" ]; then
  echo "scan: $image is not deployed with" >&2
  echo "$bad" >&2
  exit 1
fi
echo "scan: nothing critical or high in $image"
