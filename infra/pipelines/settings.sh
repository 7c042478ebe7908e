#!/usr/bin/env bash
# settings.sh CHANNEL COMMAND…: run a command with what the application is told on a channel, and the environment's own commands first on PATH.
# The same files feed Kubernetes and Terraform. MLflow's address is left out: only the cluster reaches it.
set -euo pipefail
channel="${1:?which channel: dev, staging or prod}"
shift
root="${ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
for file in "$root/infra/kubernetes/base/settings.env" "$root/infra/kubernetes/overlays/$channel/channel.env"; do
  if [ ! -f "$file" ]; then
    echo "settings: $file is not there. Run: make infra-names" >&2
    exit 2
  fi
  while IFS= read -r line || [ -n "$line" ]; do
    if [[ "$line" =~ ^TOUCHSTONE_[A-Z0-9_]+= ]] && [[ "$line" != TOUCHSTONE_MLFLOW_URI=* ]]; then export "${line?}"; fi
  done < "$file"
done
PATH="$root/.venv/bin:$PATH" exec "$@"
