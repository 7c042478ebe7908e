#!/usr/bin/env bash
# settings.sh CHANNEL: write what the application is told on a channel as NAME=value lines, for $GITHUB_ENV.
# The same files feed Kubernetes and Terraform. MLflow's address is left out: only the cluster reaches it.
set -euo pipefail
channel="${1:?which channel: dev, staging or prod}"
root="${ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
for file in "$root/infra/kubernetes/base/settings.env" "$root/infra/kubernetes/overlays/$channel/channel.env"; do
  if [ ! -f "$file" ]; then
    echo "settings: $file is not there. Run: make infra-names" >&2
    exit 2
  fi
  grep -E '^TOUCHSTONE_[A-Z0-9_]+=' "$file" | grep -v '^TOUCHSTONE_MLFLOW_URI='
done
