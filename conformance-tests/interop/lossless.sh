#!/usr/bin/env bash
# Byte by byte: what a server sends its clients directly, and through a gateway's endpoint for this server alone.
# The clients are the official suite and features.mjs with the fixture, and lossless/odd_client.mjs with a server whose
# messages are spelled oddly. What may differ, and why, is said in lossless/compare.mjs.
#
# usage: lossless.sh --suite MODULES --clients MODULES --gateway PROGRAM --fixture PROGRAM --out DIR
#                    [--revision 2025-11-25]
#
# MODULES/node_modules holds a version of the suite that knows what a revision requires, or the TypeScript SDK;
# node >= 22 is in PATH.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Fewer messages than this say that something was not asked.
FLOORS=(suite:75 features:33 odd:85)

SUITE='' CLIENTS='' GATEWAY='' FIXTURE='' OUT='' REVISION=2025-11-25
while (($#)); do
  case $1 in
    --suite) SUITE=${2:?MODULES} ;;
    --clients) CLIENTS=${2:?MODULES} ;;
    --gateway) GATEWAY=${2:?PROGRAM} ;;
    --fixture) FIXTURE=${2:?PROGRAM} ;;
    --out) OUT=${2:?DIR} ;;
    --revision) REVISION=${2:?REVISION} ;;
    *) echo "lossless.sh: what is $1?" >&2; exit 2 ;;
  esac
  shift 2
done
if [[ -z $SUITE || -z $CLIENTS || -z $GATEWAY || -z $FIXTURE || -z $OUT ]]; then
  sed -n '6,7s/^# //p' "$0" >&2
  exit 2
fi
trap 'jobs -p | xargs -r kill 2>/dev/null' EXIT
trap 'exit 143' INT TERM HUP

fail() {
  echo "FAILED lossless: $1"
  echo "lossless: 0 passed, 1 failed"
  exit 1
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
serve() { # NAME COMMAND...: in the background, with a log of its own
  local log=$OUT/$1.log
  shift
  "$@" >"$log" 2>&1 </dev/null &
}
await() { # WHAT COMMAND...: until it succeeds, for at most 15 s
  local what=$1 tries
  shift
  for ((tries = 0; tries < 150; tries++)); do
    "$@" 2>/dev/null && return
    sleep 0.1
  done
  fail "$what is not there after 15 s; see $OUT"
}
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

rm -rf "$OUT" && mkdir -p "$OUT/aliases" || exit 1
# Each way has a fixture of its own: it tells all of its clients of what one of them has changed.
direct=$(free_port) behind=$(free_port) odd=$(free_port) gateway=$(free_port)
serve fixture-direct "$FIXTURE" --port "$direct"
serve fixture-behind "$FIXTURE" --port "$behind"
serve odd node "$HERE/lossless/odd_server.mjs" "$odd"
for port in "$direct" "$behind" "$odd"; do await "a server" listens "$port"; done
# The era of the clients: what goes from one era to the other is translated, and differs.
printf 'url: http://127.0.0.1:%s/mcp\ntransport: http\nera: handshake\n' "$behind" >"$OUT/aliases/fixture.yaml"
printf 'url: http://127.0.0.1:%s/mcp\ntransport: http\nera: handshake\n' "$odd" >"$OUT/aliases/odd.yaml"
echo "aliases: $OUT/aliases" >"$OUT/config.yaml" # without keys: the suite can send none
serve gateway "$GATEWAY" serve --config "$OUT/config.yaml" --host 127.0.0.1 --port "$gateway"
python3 "$HERE/await_ready.py" "http://127.0.0.1:$gateway" 15 fixture odd || fail "the gateway is not ready; see $OUT"
serve recorder node "$HERE/lossless/recorder.mjs" "$OUT" \
  "suite-direct=http://127.0.0.1:$direct" "suite-alias=http://127.0.0.1:$gateway" \
  "features-direct=http://127.0.0.1:$direct" "features-alias=http://127.0.0.1:$gateway" \
  "odd-direct=http://127.0.0.1:$odd" "odd-alias=http://127.0.0.1:$gateway"
for way in {suite,features,odd}-{direct,alias}; do await "the recorder" test -s "$OUT/$way.url"; done

# How the clients find what they see is judged elsewhere; here it only matters that both saw the same.
fixture_traffic() { # WAY PATH
  node "$SUITE/node_modules/@modelcontextprotocol/conformance/dist/index.js" server --url "$(<"$OUT/suite-$1.url")$2" \
    --requirements "$REVISION" --timeout 20000 -o "$OUT/suite-$1" >"$OUT/suite-$1.log" 2>&1 </dev/null
  node "$HERE/features.mjs" --modules "$CLIENTS" "$(<"$OUT/features-$1.url")$2" >"$OUT/features-$1.log" 2>&1 </dev/null
}
odd_traffic() { # WAY PATH
  timeout --foreground 60 node "$HERE/lossless/odd_client.mjs" "$(<"$OUT/odd-$1.url")$2" >"$OUT/odd-client-$1.log" 2>&1 </dev/null
}
clients=()
fixture_traffic direct /mcp & clients+=($!)
fixture_traffic alias /mcp/fixture & clients+=($!)
odd_traffic direct /mcp & clients+=($!)
odd_traffic alias /mcp/odd & clients+=($!)
wait "${clients[@]}"
node "$HERE/lossless/compare.mjs" "$OUT" "${FLOORS[@]}"
