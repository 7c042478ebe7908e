#!/usr/bin/env bash
# build.sh REPOSITORY [TAG]: build the image of the API (RECIPE=harness: the harness's) and push it; the last line is REPOSITORY@sha256:…
# For EKS Auto Mode's general nodes (amd64), whatever this machine is. PUSH=no only builds. The API tells at /version, and a label says, the version of
# pyproject.toml and COMMIT, which is TAG where not said.
# Without a tag the name says what the image is made of: the files that its Dockerfile takes, as they are committed, and its base by digest. Where ECR
# has an image of that name that IDENTITY has signed, that one is told and nothing is built.
set -euo pipefail
repository="${1:?the repository of images}"
tag="${2:-}"
here="$(cd "$(dirname "$0")" && pwd)"
root="${ROOT:-$(cd "$here/../.." && pwd)}"
recipe="infra/docker/${RECIPE:-serving}.Dockerfile"
base=()
if [ -z "$tag" ]; then
  name="$(sed -n 's/^ARG BASE=//p' "$root/$recipe")"
  docker pull --quiet --platform linux/amd64 "$name" >&2
  base=(--build-arg "BASE=$(docker inspect --format '{{index .RepoDigests 0}}' "$name")")
  mapfile -t files < <(sed -n 's/^COPY \([^-].*\) [^ ]*$/\1/p' "$root/$recipe" | tr ' ' '\n')
  files+=("$recipe" .dockerignore)
  if [ -n "$(git -C "$root" status --porcelain -- "${files[@]}")" ]; then
    echo "build: what $recipe takes is not committed as it is: commit it, or name a tag" >&2
    exit 2
  fi
  made_of="$(git -C "$root" ls-tree -r HEAD -- "${files[@]}")"
  tag="made-$(printf '%s\n' "${base[@]}" "$made_of" | sha256sum | cut -c 1-40)"
  log="$(mktemp)"
  trap 'rm -f "$log"' EXIT
  if found="$(aws ecr describe-images --repository-name "${repository#*/}" --image-ids "imageTag=$tag" \
    --query 'imageDetails[0].imageDigest' --output text 2> "$log")"; then
    if "$here/sign.sh" --verify "$repository@$found" >&2; then
      echo "build: $repository has what this commit makes already" >&2
      echo "$repository@$found"
      exit 0
    fi
    # a run before this one has not ended well, or somebody else took the name: names are not given twice
    tag="$tag-${GITHUB_RUN_ID:-$(date +%s)}-${GITHUB_RUN_ATTEMPT:-1}"
  elif ! grep -q ImageNotFoundException "$log"; then
    cat "$log" >&2
    exit 3
  fi
fi
version="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml" | head -n 1)"
docker build --platform linux/amd64 --file "$root/$recipe" --tag "$repository:$tag" ${base[@]+"${base[@]}"} \
  --build-arg "VERSION=${version:?pyproject.toml names none}" --build-arg "COMMIT=${COMMIT:-$tag}" "$root" >&2
if [ "${PUSH:-yes}" = no ]; then
  echo "$repository:$tag"
  exit 0
fi
docker push --quiet "$repository:$tag" >&2
digest="$(docker inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$repository:$tag" | grep -F "$repository@sha256:" | head -n 1)"
if [[ ! "$digest" =~ @sha256:[0-9a-f]{64}$ ]]; then
  echo "build: the registry told no digest of $repository:$tag" >&2
  exit 3
fi
echo "$digest"
