#!/usr/bin/env bash
# plan.sh LAYER: what Terraform would change, as Markdown for a pull request; writes and locks nothing. Exit code 0 whether or not there is a change.
set -euo pipefail
layer="${1:?which layer}"
root="${ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
folder="$root/infra/terraform/$layer"
if [ ! -d "$folder" ]; then
  echo "plan: no layer '$layer' below infra/terraform" >&2
  exit 2
fi
terraform "-chdir=$folder" init -input=false -no-color -lockfile=readonly -backend-config=backend.hcl > init.log 2>&1 || { cat init.log >&2; exit 3; }
code=0
terraform "-chdir=$folder" plan -input=false -no-color -lock=false -detailed-exitcode > plan.log 2>&1 || code=$?
case "$code" in
  0) echo "### $layer: nothing changes" ;;
  2)
    echo "### $layer: $(grep -E '^Plan:' plan.log || echo 'outputs change')"
    # bounded, and its words are no Markdown of ours
    printf '\n<details><summary>plan</summary>\n\n~~~~~~text\n'
    head -c 50000 plan.log | sed 's/~~~~~~/~ ~ ~/g'
    printf '\n~~~~~~\n\n</details>\n'
    ;;
  *)
    cat plan.log >&2
    exit 3
    ;;
esac
