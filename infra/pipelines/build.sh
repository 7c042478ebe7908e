#!/usr/bin/env bash
# build.sh REPOSITORY TAG: build the image of the API (RECIPE=harness: the harness's) and push it; the last line is REPOSITORY@sha256:…
# For EKS Auto Mode's general nodes (amd64), whatever this machine is. PUSH=no only builds. The tag is the commit, which the API tells at /version.
set -euo pipefail
repository="${1:?the repository of images}"
tag="${2:?the tag, such as the commit}"
root="${ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
docker build --platform linux/amd64 --file "$root/infra/docker/${RECIPE:-serving}.Dockerfile" --tag "$repository:$tag" --build-arg "COMMIT=$tag" "$root" >&2
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
