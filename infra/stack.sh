#!/usr/bin/env bash
# Starts infra/compose.yaml: make stack [PROFILES="aws langfuse"]. Keys and passwords are made once and kept below .touchstone/stack.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=.touchstone/stack
touchstone="${TOUCHSTONE:-.venv/bin/touchstone}"
mkdir -p "$folder" .touchstone/indexes releases
chmod 700 "$folder"
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

if [ ! -f "$folder/stack.env" ]; then
  draft="$(mktemp "$folder/.stack.env.XXXXXX")"
  for name in CACHE_SECRET POSTGRES_PASSWORD GRAFANA_PASSWORD LANGFUSE_SECRET LANGFUSE_SALT CLICKHOUSE_PASSWORD MINIO_PASSWORD; do
    echo "$name=$(random)"
  done > "$draft"
  echo "LANGFUSE_KEY=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >> "$draft"
  mv "$draft" "$folder/stack.env"
fi
if [ ! -f "$folder/keys.yaml" ]; then
  echo "A key for the API, shown this once:"
  "$touchstone" key create stack-admin --scope query --scope ingest --scope feedback --scope admin --keys "$folder/keys.yaml"
  chmod 644 "$folder/keys.yaml" # read by the container's own account; it holds hashes, and its folder is yours alone
fi
if [ ! -f "releases/channels/${CHANNEL:-dev}.json" ]; then
  echo "Channel ${CHANNEL:-dev} has no release yet: the API waits for one (make demo, or touchstone promote)."
fi
if [ "${1:-up}" = prepare ]; then exit 0; fi
command -v docker > /dev/null || { echo "docker is not installed. Without it: make stack-smoke tries the parts as plain processes." >&2; exit 2; }
profiles=()
for profile in ${PROFILES:-}; do profiles+=(--profile "$profile"); done
if [[ " ${PROFILES:-} " == *" aws "* ]]; then
  export STACK_AWS_ENDPOINT=http://moto:5000 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  export STACK_RELEASES="${STACK_RELEASES:-s3://touchstone/releases}" STACK_INDEXES="${STACK_INDEXES:-s3://touchstone/indexes}"
fi
exec docker compose -f infra/compose.yaml --env-file "$folder/stack.env" "${profiles[@]}" "${@:-up}"
