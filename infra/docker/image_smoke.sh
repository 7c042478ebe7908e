#!/usr/bin/env bash
# Builds the image of the query API without Docker (buildah), starts it without a container engine (bubblewrap) as somebody who owns nothing,
# on a read-only root, over a release made here, and asks it a question. Prints sizes and the cold start.
#     make image-smoke               BASE=<image> where a registry is at hand; default: a Debian of one's own, by mmdebstrap
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { printf 'image-smoke: %s\n' "$*"; }
for tool in buildah bwrap; do
  command -v "$tool" > /dev/null || { say "skipped: $tool is not installed (apt-get install buildah bubblewrap mmdebstrap)"; exit 0; }
done
commit="$(git rev-parse HEAD)"
[ "$(id -u)" = 0 ] || { say "skipped: it needs root, to mount the image and then give up every right"; exit 0; }
work="$(mktemp -d)"
server=""
finish() { [ -z "$server" ] || kill "$server" 2> /dev/null || true; wait 2> /dev/null || true; rm -rf "$work"; }
trap finish EXIT
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}"
base="${BASE:-localhost/touchstone-base:bookworm}"

if [ -z "${BASE:-}" ] && ! buildah inspect --type image "$base" > /dev/null 2>&1; then
  command -v mmdebstrap > /dev/null || { say "skipped: no BASE is named and mmdebstrap is not installed"; exit 0; }
  say "a base of one's own: Debian with its Python"
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base.tar"
  container="$(buildah from scratch)"
  buildah add --quiet "$container" "$work/base.tar" / > /dev/null
  buildah commit --quiet --rm "$container" "$base" > /dev/null
  rm "$work/base.tar"
fi

secrets=()
[ -z "${SSL_CERT_FILE:-}" ] || secrets+=(--secret "id=ca,src=$SSL_CERT_FILE")
[ -z "${UV_CONFIG_FILE:-}" ] || secrets+=(--secret "id=uv,src=$UV_CONFIG_FILE")
image=localhost/touchstone-serving:smoke
say "building $image on $base"
began=$SECONDS
buildah bud --quiet --format docker --layers "${secrets[@]}" --build-arg "BASE=$base" --build-arg VERSION=smoke \
  --build-arg "COMMIT=$commit" -f infra/docker/serving.Dockerfile -t "$image" . > /dev/null
say "built in $((SECONDS - began)) s"

container="$(buildah from --quiet "$image")"
root="$(buildah mount "$container")"
trap 'buildah rm "$container" > /dev/null 2>&1 || true; finish' EXIT
buildah inspect --type image --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Labels}}' "$image" > "$work/labels"
grep -q '^10001:10001 ' "$work/labels" || { say "failed: the image does not run as 10001:10001"; exit 1; }
grep -q "$commit" "$work/labels" || { say "failed: no label names the commit"; exit 1; }
megabytes() { du -sm "$@" | awk '{ sum += $1 } END { print sum }'; }
say "size: $(megabytes "$root") MB unpacked, of these $(megabytes "$root/opt/touchstone") MB ours ($(megabytes "$root/opt/touchstone/app") MB code)"
for absent in mlflow optuna ragas deepeval pandas scipy torch ray; do
  [ ! -e "$(echo "$root"/opt/touchstone/venv/lib/python3*/site-packages)/$absent" ] || { say "failed: the image holds $absent"; exit 1; }
done
for tool in gcc make git; do
  [ ! -e "$root/usr/bin/$tool" ] || { say "failed: the image holds $tool"; exit 1; }
done

say "a release to serve"
python="${PYTHON:-.venv/bin/python}"
export TOUCHSTONE_HOME="$work/data" TOUCHSTONE_RELEASES="$work/data/releases" TOUCHSTONE_REPORTS="$work/reports" TOUCHSTONE_LOOKS="$work/looks.jsonl"
"${TOUCHSTONE:-.venv/bin/touchstone}" promote experiments/configs/serving.yaml --force --why "the image is tried" > /dev/null
"${TOUCHSTONE:-.venv/bin/touchstone}" key create smoke --keys "$work/data/keys.yaml" --json > "$work/key"
unset TOUCHSTONE_HOME TOUCHSTONE_RELEASES TOUCHSTONE_REPORTS TOUCHSTONE_LOOKS
chown -R 10001:10001 "$work/data"
chmod 755 "$work"
port="$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
began="$(date +%s%N)"
# no capability, no new privilege, a read-only root, writable /tmp and home alone; the network is this machine's loopback
bwrap --ro-bind "$root" / --proc /proc --dev /dev --tmpfs /tmp --bind "$work/data" /var/lib/touchstone --unshare-pid --unshare-ipc --unshare-uts \
  --cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP --die-with-parent --clearenv --setenv PATH /usr/bin:/bin \
  --setenv PYTHONPATH /opt/touchstone/app --setenv HOME /var/lib/touchstone --setenv TOUCHSTONE_HOME /var/lib/touchstone \
  --setenv TOUCHSTONE_RELEASES /var/lib/touchstone/releases --setenv TOUCHSTONE_API_KEYS /var/lib/touchstone/keys.yaml \
  --setenv TOUCHSTONE_COMMIT "$commit" --setenv TOUCHSTONE_VERSION smoke --chdir /var/lib/touchstone \
  setpriv --reuid=10001 --regid=10001 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs \
  /opt/touchstone/venv/bin/python -P -m serving.app --host 0.0.0.0 --port "$port" > "$work/log" 2>&1 &
server=$!
for try in $(seq 400); do
  if "$python" infra/docker/smoke_question.py "$port" 2> /dev/null; then break; fi
  [ "$try" != 400 ] || { say "failed: it did not become ready"; cat "$work/log"; exit 1; }
  kill -0 "$server" 2> /dev/null || { say "failed: it did not start"; cat "$work/log"; exit 1; }
  sleep 0.1
done
say "cold start to ready: $((($(date +%s%N) - began) / 1000000)) ms"
"$python" infra/docker/smoke_question.py "$port" "$work/key" || { cat "$work/log"; exit 1; }
say "memory: $(ps -e -o rss=,args= | awk -v port="--port $port" 'index($0, port) { if ($1 > most) most = $1 } END { printf "%d MB", most / 1024 }')"
kill "$server"; wait "$server" || true
server=""
say "passed"
