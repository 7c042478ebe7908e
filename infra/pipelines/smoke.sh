#!/usr/bin/env bash
# smoke.sh URL [RELEASE]: whether a server is ready, serves the release, and answers a question. TOUCHSTONE_KEY is the key that is asked with.
# cluster:NAMESPACE in the place of an address asks through Kubernetes' API, for those who are outside of the network that the balancer is in.
set -euo pipefail
url="${1:?the address of the server}"
release="${2:-}"
question="${QUESTION:-How many days of paid leave does everyone have?}"

headers="$(mktemp)"
forward=""
end() {
  rm -f "$headers"
  if [ -n "$forward" ]; then kill "$forward" 2> /dev/null || true; fi
}
trap end EXIT
if [[ "$url" == cluster:* ]]; then
  namespace="${url#cluster:}"
  port="${FORWARD_PORT:-18080}"
  kubectl --namespace "$namespace" port-forward service/touchstone-api "$port:80" > /dev/null 2>&1 &
  forward=$!
  url="http://127.0.0.1:$port"
fi

fetch() { curl --silent --show-error --fail-with-body --max-time 60 "$@"; }

ready=""
for _ in $(seq "${TRIES:-30}"); do
  ready="$(curl --silent --max-time 10 "$url/readyz" || true)"
  if jq -e --arg release "$release" '.ready and .current and ($release == "" or .loaded == $release)' <<< "$ready" > /dev/null 2>&1; then break; fi
  sleep "${POLL_S:-5}"
done
if ! jq -e --arg release "$release" '.ready and .current and ($release == "" or .loaded == $release)' <<< "$ready" > /dev/null 2>&1; then
  echo "smoke: $url does not serve ${release:-what its channel promotes}: ${ready:-no answer}" >&2
  exit 1
fi

# the key goes by a file, so that no list of processes shows it
echo "Content-Type: application/json" > "$headers"
if [ -n "${TOUCHSTONE_KEY:-}" ]; then echo "Authorization: Bearer $TOUCHSTONE_KEY" >> "$headers"; fi
body="$(jq -n --arg question "$question" '{question: $question}')"
if ! answer="$(fetch --header "@$headers" --data "$body" "$url/v1/query")"; then
  echo "smoke: a question was not answered: $answer" >&2
  exit 1
fi
if ! jq -e '(.answer | length > 0) and (.trace_id | length > 0)' <<< "$answer" > /dev/null; then
  echo "smoke: what came is no answer: $answer" >&2
  exit 1
fi
echo "smoke: $url answers, by $(jq -r '.release' <<< "$answer")"
