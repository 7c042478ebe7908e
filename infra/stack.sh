#!/usr/bin/env bash
# Starts infra/compose.yaml: make stack [PROFILES="aws langfuse"]. Keys and passwords are made once and kept below .touchstone/stack.
# Other words go to compose: bash infra/stack.sh down; `prepare` starts nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=.touchstone/stack
touchstone="${TOUCHSTONE:-.venv/bin/touchstone}"
channel="${CHANNEL:-dev}"
random() { od -An "-N$1" -tx1 /dev/urandom | tr -d ' \n'; }
refuse() { printf 'make stack: %s\n' "$*" >&2; exit 2; }
has() { case " ${PROFILES:-} " in *" $1 "*) ;; *) return 1 ;; esac; }

for profile in ${PROFILES:-}; do
  case "$profile" in aws | langfuse) ;; *) refuse "no profile '$profile'. Known: aws, langfuse." ;; esac
done
if [ "${1:-up}" != prepare ]; then
  command -v docker > /dev/null || refuse "docker is not installed. Without it: make stack-smoke tries the parts as plain processes."
  docker compose version > /dev/null 2>&1 || refuse "docker has no compose: install its plugin docker-compose-plugin."
  docker info > /dev/null 2>&1 || refuse "docker does not answer. Is it running, and may you use it? See: docker info"
fi

(umask 022 && mkdir -p .touchstone/indexes releases "$folder/alerts" "$folder/keys") # read by the containers' own accounts
chmod 700 "$folder"
umask 077
if [ ! -f "$folder/stack.env" ]; then
  draft="$(mktemp "$folder/.stack.env.XXXXXX")"
  for name in CACHE_SECRET POSTGRES_PASSWORD GRAFANA_PASSWORD LANGFUSE_SECRET LANGFUSE_SALT CLICKHOUSE_PASSWORD MINIO_PASSWORD; do
    echo "$name=$(random 24)"
  done > "$draft"
  echo "LANGFUSE_KEY=$(random 32)" >> "$draft"
  mv "$draft" "$folder/stack.env"
fi
if [ ! -f "$folder/keys/keys.yaml" ]; then
  echo "A key for the API, shown this once:"
  "$touchstone" key create stack-admin --scope query --scope ingest --scope feedback --scope admin --keys "$folder/keys/keys.yaml"
  chmod 644 "$folder/keys/keys.yaml" # it holds hashes, and its folder is yours alone
fi
if [ "${1:-up}" = prepare ]; then exit 0; fi

compose=(docker compose -f infra/compose.yaml --env-file "$folder/stack.env")
for profile in ${PROFILES:-}; do compose+=(--profile "$profile"); done
if has aws; then
  export STACK_AWS_ENDPOINT=http://moto:5000 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  export STACK_RELEASES="${STACK_RELEASES:-s3://touchstone/releases}" STACK_INDEXES="${STACK_INDEXES:-s3://touchstone/indexes}"
  export STACK_TRACES="${STACK_TRACES:-dynamodb:touchstone-traces}"
fi
if [ "${1:-up}" = up ] && [ -z "$("${compose[@]}" ps --quiet)" ]; then
  ports=("API_PORT ${API_PORT:-8080}" "MLFLOW_PORT ${MLFLOW_PORT:-5000}" "PROMETHEUS_PORT ${PROMETHEUS_PORT:-9090}" "GRAFANA_PORT ${GRAFANA_PORT:-3000}")
  if has aws; then ports+=("AWS_PORT ${AWS_PORT:-5566}"); fi
  if has langfuse; then ports+=("LANGFUSE_PORT ${LANGFUSE_PORT:-3100}"); fi
  for one in "${ports[@]}"; do
    if (: < "/dev/tcp/127.0.0.1/${one#* }") 2> /dev/null; then refuse "port ${one#* } is taken. Take another: ${one% *}=… make stack"; fi
  done
  echo "API http://127.0.0.1:${API_PORT:-8080} · MLflow :${MLFLOW_PORT:-5000} · Prometheus :${PROMETHEUS_PORT:-9090} ·" \
    "Grafana :${GRAFANA_PORT:-3000} (admin, GRAFANA_PASSWORD of $folder/stack.env)"
  if has aws; then
    echo "S3 begins empty. When it runs: TOUCHSTONE_S3_ENDPOINT=http://127.0.0.1:${AWS_PORT:-5566} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test" \
      "TOUCHSTONE_RELEASES=$STACK_RELEASES TOUCHSTONE_INDEXES=$STACK_INDEXES $touchstone promote CONFIGURATION --channel $channel"
  elif [ ! -f "releases/channels/$channel.json" ]; then
    echo "Channel $channel has no release yet: the API waits for one (make demo, or touchstone promote)."
  fi
fi
if [ $# = 0 ]; then set -- up; fi
exec "${compose[@]}" "$@"
