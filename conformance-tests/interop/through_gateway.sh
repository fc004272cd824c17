#!/usr/bin/env bash
# Runs a client against a gateway that has one upstream, and passes the client's exit code through.
#
# usage: GATEWAY=PROGRAM through_gateway.sh CLIENT... UPSTREAM-URL
#
# The gateway is a keyless one on a free port of loopback; CLIENT gets its endpoint as last argument.
# It is the command that the official suite starts to test a client, therefore the URL comes last.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CLIENT=("${@:1:$#-1}") URL=${*: -1}

WORK=$(mktemp -d) PID='' RUNNING=''
finish() {
  trap '' INT TERM HUP
  [[ -z $RUNNING ]] || kill "$RUNNING" 2>/dev/null
  if [[ -n $PID ]]; then
    kill -TERM "$PID" 2>/dev/null
    for ((tries = 0; tries < 50; tries++)); do kill -0 "$PID" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$PID" 2>/dev/null
    # What it said is for the suite's record of standard error.
    tail -n 40 "$WORK/gateway.log" >&2
  fi
  rm -rf "$WORK"
}
trap finish EXIT
trap 'exit 143' INT TERM HUP

mkdir "$WORK/aliases"
printf 'url: %s\ntransport: http\n' "$URL" >"$WORK/aliases/upstream.yaml"
printf 'aliases: %s/aliases\n' "$WORK" >"$WORK/config.yaml"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${GATEWAY:?PROGRAM}" serve --config "$WORK/config.yaml" --host 127.0.0.1 --port "$port" >"$WORK/gateway.log" 2>&1 </dev/null &
PID=$!
python3 "$HERE/await_ready.py" "http://127.0.0.1:$port" 15 upstream >&2 || exit 1
BEHIND_GATEWAY=1 "${CLIENT[@]}" "http://127.0.0.1:$port/mcp/upstream" &
# In the background, because a trap waits for a command in the foreground.
RUNNING=$!
wait "$RUNNING"
