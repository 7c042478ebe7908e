#!/usr/bin/env bash
# data.sh CHANNEL CORPUS CONFIG: a corpus of this repository → S3 → index (only what changed is embedded) → retrieval check → gate, against what
# the channel serves → the channel.
# Exit code 0: the channel serves the new index, or nothing had changed. 1: a check does not hold. 2, 3: a mistake in the files, an outage: nothing
# was judged. Unless it is 0 the channel goes on as before.
set -euo pipefail
channel="${1:?which channel}"
corpus="${2:?a folder below datasets/corpora}"
config="${3:?a configuration file}"
here="$(cd "$(dirname "$0")" && pwd)"
root="${ROOT:-$(cd "$here/../.." && pwd)}"
gate="$root/experiments/gates/promotion.yaml"
stop() { # CODE WORDS
  echo "data: $2; $channel goes on as before" >&2
  exit "$1"
}
hold() { # GATE OUT WORDS: go on only where the gate holds
  local code=0
  touchstone gate "$1" --config "$config" --out "$2" || code=$?
  case "$code" in
    0) ;;
    1) stop 1 "$3" ;;
    *) stop "$code" "the gate $(basename "$1" .yaml) could not be judged (exit code $code)" ;;
  esac
}
if [[ ! "$corpus" =~ ^[[:alnum:]][[:alnum:]._-]*$ ]]; then stop 2 "'$corpus' is no folder below datasets/corpora"; fi
if [ ! -d "$root/datasets/corpora/$corpus" ]; then stop 2 "no corpus '$corpus' below datasets/corpora"; fi

if [ -n "${DOCUMENTS_BUCKET:-}" ]; then
  # the bucket keeps versions; what is gone from git is left there, and is no part of the index
  aws s3 sync --only-show-errors --no-follow-symlinks "$root/datasets/corpora/$corpus" "s3://$DOCUMENTS_BUCKET/corpora/$corpus" ||
    stop 3 "the documents could not be brought to s3://$DOCUMENTS_BUCKET"
fi
touchstone index --config "$config" --corpus "$corpus" || stop $? "the index could not be built"
touchstone index --config "$config" --corpus "$corpus" --verify || stop $? "the index is not whole"
hold "$root/infra/pipelines/retrieval-gate.yaml" gate-retrieval "retrieval is worse than the golden set asks for"
"$here/champion.sh" "$channel" "$gate" || stop $? "what it serves could not be evaluated, to be compared with"
hold "$gate" reports/gates/data "the gate of promotion does not hold"
touchstone promote "$config" --channel "$channel" --corpus "$corpus" --decision reports/gates/data/decision.json || stop $? "it could not be promoted"
echo "data: $channel serves $corpus by $config"
