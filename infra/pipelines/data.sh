#!/usr/bin/env bash
# data.sh CHANNEL CORPUS CONFIG: a corpus of this repository → S3 → index (only what changed is embedded) → retrieval check → the channel.
# Exit code 0: the channel serves the new index, or nothing had changed. 1: a check does not hold and the channel goes on as before.
set -euo pipefail
channel="${1:?which channel}"
corpus="${2:?a folder below datasets/corpora}"
config="${3:?a configuration file}"
root="${ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
fail() {
  echo "data: $*; $channel goes on as before" >&2
  exit 1
}
if [ ! -d "$root/datasets/corpora/$corpus" ]; then fail "no corpus '$corpus' below datasets/corpora"; fi

if [ -n "${DOCUMENTS_BUCKET:-}" ]; then
  # the bucket keeps versions; what is gone from git is left there, and is no part of the index
  aws s3 sync --only-show-errors --no-follow-symlinks "$root/datasets/corpora/$corpus" "s3://$DOCUMENTS_BUCKET/corpora/$corpus"
fi
touchstone index --config "$config" --corpus "$corpus" --json > index.out.json || fail "the index could not be built"
touchstone index --config "$config" --corpus "$corpus" --verify || fail "the index is not whole"
code=0
touchstone gate "$root/infra/pipelines/retrieval-gate.yaml" --config "$config" --out gate-retrieval || code=$?
case "$code" in
  0) ;;
  1) fail "retrieval is worse than the golden set asks for" ;;
  *) echo "data: retrieval could not be checked (exit code $code)" >&2; exit "$code" ;;
esac
touchstone gate "$root/experiments/gates/promotion.yaml" --config "$config" --out reports/gates/data || fail "the gate of promotion does not hold"
touchstone promote "$config" --channel "$channel" --corpus "$corpus" --decision reports/gates/data/decision.json || fail "it could not be promoted"
echo "data: $channel serves $corpus by $config"
