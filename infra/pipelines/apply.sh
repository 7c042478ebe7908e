#!/usr/bin/env bash
# apply.sh LAYER: apply exactly what is planned now; refuses a plan that destroys what keeps data (DESTROY=true lets it). Where the cluster is
# paused nothing is applied: only a resume brings the database back, and it applies what is on main then.
set -euo pipefail
layer="${1:?which layer}"
root="${ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
folder="$root/infra/terraform/$layer"
if [ ! -d "$folder" ]; then
  echo "apply: no layer '$layer' below infra/terraform" >&2
  exit 2
fi
plan="$(mktemp)"
trap 'rm -f "$plan"' EXIT
terraform "-chdir=$folder" init -input=false -no-color -lockfile=readonly -backend-config=backend.hcl
terraform "-chdir=$folder" plan -input=false -no-color -out="$plan"
changes="$(terraform "-chdir=$folder" show -json "$plan" | jq '.resource_changes // []')"
if jq -e 'any(.[]; .type == "aws_eks_cluster" and .change.actions == ["create"])' <<< "$changes" > /dev/null; then
  echo "apply: there is no cluster: nothing is applied now; make resume brings it, with this change"
  exit 0
fi
lost="$(jq -r '[.[]
  | select(.change.actions | index("delete"))
  | select(.type | test("^aws_(s3_bucket|dynamodb_table|db_instance|elasticache_replication_group|kms_key|secretsmanager_secret|ecr_repository)$"))
  | .address] | join(" ")' <<< "$changes")"
if [ -n "$lost" ] && [ "${DESTROY:-}" != true ]; then
  echo "apply: the plan destroys $lost. If that is meant: DESTROY=true" >&2
  exit 1
fi
terraform "-chdir=$folder" apply -input=false -no-color "$plan"
