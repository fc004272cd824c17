#!/usr/bin/env bash
# Every client transport against every upstream transport, by both SDKs. See run.sh --help.
set -uo pipefail
# Every background job gets a process group of its own, by which it is ended.
set -m

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../../.." && pwd)

usage() {
  cat <<'END'
usage: run.sh [direct | gateway | all] [--clients LIST] [--servers LIST] [--from LIST] [--to LIST]

  direct    each client against each server, over the same transport, without a gateway
  gateway   (default) each client and transport against each server and transport through a gateway,
            and the aggregate endpoint with its prefixes
  all       both

  --clients LIST  of 1.30.0, 2.3.0 (Python) and ts (TypeScript); default 1.30.0,ts, for direct all three
  --servers LIST  likewise
  --from LIST     transports of clients: streamable, sse, stdio, aggregate; default all
  --to LIST       transports of upstreams: streamable, sse, stdio; default all

Environment: TRUNKLINE_BIN (default target/release/trunkline), TRUNKLINE_TEST_DIR (where ./test installed the
SDKs; default .test), MATRIX_JOBS (servers that are tried at once; default 3), MATRIX_TABLE (a file that gets
the table, too). Logs are in TRUNKLINE_TEST_DIR/logs/matrix, the gateway's own is gateway.log.
END
}

MODE=gateway CLIENTS='' SERVERS='' FROM=streamable,sse,stdio,aggregate TO=streamable,sse,stdio
while (($#)); do
  case $1 in
    direct | gateway | all) MODE=$1 ;;
    --clients | --servers | --from | --to)
      [[ $# -ge 2 ]] || { echo "run.sh: $1 needs a list" >&2; exit 2; }
      case $1 in --clients) CLIENTS=$2 ;; --servers) SERVERS=$2 ;; --from) FROM=$2 ;; --to) TO=$2 ;; esac
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

TEST=$(cd "${TRUNKLINE_TEST_DIR:-$ROOT/.test}" && pwd) || { echo "run.sh: first ./test install" >&2; exit 2; }
BIN=$(realpath -m -- "${TRUNKLINE_BIN:-${CARGO_TARGET_DIR:-$ROOT/target}/release/trunkline}")
NODE=$TEST/npm/node/node_modules/node/bin/node
MODULES=$TEST/npm/clients
JOBS=${MATRIX_JOBS:-3}
LOGS=$TEST/logs/matrix
WORK=$(mktemp -d)
rm -rf "$LOGS"
mkdir -p "$LOGS" "$WORK/aliases"
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost NO_COLOR=1 PYTHONDONTWRITEBYTECODE=1

STARTED=()
end_all() {
  trap '' INT TERM HUP
  local pid tries
  for pid in "${STARTED[@]}"; do kill -TERM -- "-$pid" 2>/dev/null; done
  for pid in "${STARTED[@]}"; do
    for ((tries = 0; tries < 50; tries++)); do kill -0 -- "-$pid" 2>/dev/null || break; sleep 0.1; done
    kill -KILL -- "-$pid" 2>/dev/null
  done
  rm -rf "$WORK"
}
trap end_all EXIT
trap 'exit 130' INT TERM HUP

start() { # LOG COMMAND...
  local log=$1
  shift
  "$@" >>"$log" 2>&1 </dev/null &
  STARTED+=($!)
  disown
}

PORTS=()
read -ra PORTS < <(python3 - <<'END'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(16)]
print(*(one.getsockname()[1] for one in held))
END
)
next_port() { PORT=${PORTS[0]} PORTS=("${PORTS[@]:1}"); }

listens() { # PORT NAME
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    { : >"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null && return
    sleep 0.1
  done
  echo "FAILED matrix: $2 does not listen after 30 s; its log is in $LOGS"
  return 1
}

program() { # client|server WHICH: the command line, in PROGRAM
  case $2 in
    ts) PROGRAM=("$NODE" "$HERE/$1.mjs" --modules "$MODULES") ;;
    *) PROGRAM=("$TEST/venv/mcp-$2/bin/python" "$HERE/$1.py") ;;
  esac
}
in_list() { [[ ,$2, == *",$1,"* ]]; }
# An alias has no dots or hyphens, the scheme of an address has no underscores.
alias_of() { local which=py${1//./}; [[ $1 == ts ]] && which=ts; echo "${which}_$2"; }

declare -A URL=() # of the servers that are started, by alias
start_server() { # WHICH TRANSPORT
  local alias path=mcp
  alias=$(alias_of "$1" "$2")
  program server "$1"
  [[ $2 == sse ]] && path=sse
  if [[ $2 != stdio ]]; then
    next_port
    start "$LOGS/$alias.log" "${PROGRAM[@]}" --transport "$2" --port "$PORT" --scheme "${alias//_/-}"
    URL[$alias]=http://127.0.0.1:$PORT/$path
  fi
}
await_servers() {
  local alias port
  for alias in "${!URL[@]}"; do
    port=${URL[$alias]##*127.0.0.1:}
    listens "${port%%/*}" "$alias" || exit 1
  done
}

run_client() { # LABEL-FILE CLIENT ALIAS TRANSPORT ARGUMENTS...
  local name=$1 which=$2 alias=$3 transport=$4 log began=$SECONDS code
  shift 4
  log=$LOGS/$name.log
  program client "$which"
  timeout --kill-after=5 150 "${PROGRAM[@]}" --transport "$transport" --scheme "${alias//_/-}" \
    --label "$name" "$@" >"$log" 2>&1 </dev/null
  code=$?
  if ! grep -Eq '^[^:]+: [0-9]+ passed, [0-9]+ failed$' "$log"; then
    echo "FAILED $name: the client runs to its end: it ended with code $code" >>"$log"
    echo "$name: $(grep -c '^ok ' "$log") passed, $(grep -c '^FAILED ' "$log") failed" >>"$log"
  fi
  printf '%s (%d s)\n' "$(grep -E ': [0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)" $((SECONDS - began))
}

# One server after the other would take too long; more clients of one server would hear each other's changes.
throttled() { # FUNCTION WHICH TRANSPORT
  while (($(jobs -rp | wc -l) >= JOBS)); do wait -n; done
  "$@" &
}

direct_chain() { # SERVER TRANSPORT
  local server=$1 transport=$2 alias client
  alias=$(alias_of "$server" "$transport")
  for client in ${CLIENTS//,/ }; do
    program server "$server"
    if [[ $transport == stdio ]]; then
      run_client "direct.$client.$transport.$server.$transport" "$client" "$alias" stdio --direct \
        --command "${PROGRAM[@]}" --transport stdio --scheme "${alias//_/-}"
    else
      run_client "direct.$client.$transport.$server.$transport" "$client" "$alias" "$transport" --direct --url "${URL[$alias]}"
    fi
  done
}

gateway_chain() { # SERVER TRANSPORT
  local server=$1 to=$2 alias client from name
  alias=$(alias_of "$server" "$to")
  for client in ${CLIENTS//,/ }; do
    for from in ${FROM//,/ }; do
      name=gateway.$client.$from.$server.$to
      case $from in
        streamable) run_client "$name" "$client" "$alias" streamable --url "$GATEWAY/mcp/$alias" ;;
        sse) run_client "$name" "$client" "$alias" sse --url "$GATEWAY/$alias/sse" ;;
        stdio) run_client "$name" "$client" "$alias" stdio --command "$BIN" stdio --connect "$GATEWAY/mcp/$alias" ;;
        aggregate) run_client "$name" "$client" "$alias" streamable --url "$GATEWAY/mcp" --prefix "$alias-" ;;
      esac
    done
  done
}

quoted() { local one; for one in "$@"; do printf '"%s", ' "${one//\"/\\\"}"; done; }

write_alias() { # SERVER TRANSPORT
  local alias
  alias=$(alias_of "$1" "$2")
  if [[ $2 == stdio ]]; then
    program server "$1"
    cat >"$WORK/aliases/$alias.yaml" <<END
command: "${PROGRAM[0]}"
args: [$(quoted "${PROGRAM[@]:1}" --transport stdio --scheme "${alias//_/-}")]
env: {PYTHONDONTWRITEBYTECODE: "1"}
cwd: "$HERE"
END
  else
    printf 'url: %s\ntransport: %s\n' "${URL[$alias]}" "${2/streamable/http}" >"$WORK/aliases/$alias.yaml"
  fi
}

start_gateway() {
  local server to
  [[ -x $BIN ]] || { echo "FAILED matrix: there is no gateway at $BIN"; exit 1; }
  for server in ${SERVERS//,/ }; do
    for to in ${TO//,/ }; do write_alias "$server" "$to"; done
  done
  next_port
  GATEWAY=http://127.0.0.1:$PORT
  printf 'listen: 127.0.0.1:%s\naliases: aliases\n' "$PORT" >"$WORK/trunkline.yaml"
  if ! "$BIN" check --config "$WORK/trunkline.yaml" >"$LOGS/check.log" 2>&1; then
    echo "FAILED matrix: the gateway refuses the configuration (first lines below); without stdio upstreams:"
    head -n 5 "$LOGS/check.log" | sed 's/^/    /'
    rm -f "$WORK"/aliases/*_stdio.yaml
  fi
  start "$LOGS/gateway.log" "$BIN" --config "$WORK/trunkline.yaml"
  listens "$PORT" 'the gateway' || exit 1
}

row() { # WIDTH CELL...
  local width=$1 cell
  shift
  printf '%-22s' "$1"
  shift
  for cell in "$@"; do printf "%-${width}s" "$cell"; done
  echo
}

table() { # MODE: passed/failed of each cell; clients are rows, upstreams are columns
  local mode=$1 from to client server columns=() cells file found
  for server in ${SERVERS//,/ }; do for to in ${TO//,/ }; do columns+=("$server.$to"); done; done
  row 19 "$mode, passed/failed" "${columns[@]}"
  for client in ${CLIENTS//,/ }; do
    for from in ${FROM//,/ }; do
      cells=()
      for to in "${columns[@]}"; do
        file=$LOGS/$mode.$client.$from.$to.log found=-
        [[ -f $file ]] && found=$(sed -nE 's/^[^:]+: ([0-9]+) passed, ([0-9]+) failed$/\1\/\2/p' "$file" | tail -n 1)
        cells+=("$found")
      done
      [[ ${cells[*]} == *[0-9]* ]] && row 19 "$client.$from" "${cells[@]}"
    done
  done
}

SECONDS=0
WANTED_CLIENTS=$CLIENTS WANTED_SERVERS=$SERVERS
[[ $MODE == gateway ]] && DEFAULT=1.30.0,ts || DEFAULT=1.30.0,2.3.0,ts
SERVERS=${WANTED_SERVERS:-$DEFAULT}
for server in ${SERVERS//,/ }; do
  for to in ${TO//,/ }; do start_server "$server" "$to"; done
done
await_servers
for mode in direct gateway; do
  [[ $MODE == "$mode" || $MODE == all ]] || continue
  [[ $mode == gateway ]] && DEFAULT=1.30.0,ts || DEFAULT=1.30.0,2.3.0,ts
  CLIENTS=${WANTED_CLIENTS:-$DEFAULT} SERVERS=${WANTED_SERVERS:-$DEFAULT}
  [[ $mode == direct ]] || start_gateway
  for server in ${SERVERS//,/ }; do
    for to in ${TO//,/ }; do throttled "${mode}_chain" "$server" "$to"; done
  done
  while (($(jobs -rp | wc -l))); do wait -n; done
done

echo
echo "What failed, and in how many cells:"
grep -h '^FAILED ' "$LOGS"/*.*.*.log 2>/dev/null | sed -E 's/^FAILED [^:]+: //; s/: (expected|nothing came|did not come|McpError|\{|\[|$).*//' |
  cut -c 1-110 | sort | uniq -c | sort -rn | head -n 60
echo
{
  for mode in direct gateway; do
    [[ $MODE == "$mode" || $MODE == all ]] || continue
    [[ $mode == gateway ]] && DEFAULT=1.30.0,ts || DEFAULT=1.30.0,2.3.0,ts
    CLIENTS=${WANTED_CLIENTS:-$DEFAULT} SERVERS=${WANTED_SERVERS:-$DEFAULT}
    table "$mode"
    echo
  done
} | tee ${MATRIX_TABLE:+"$MATRIX_TABLE"}
sed -nE 's/^[^:]+: ([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$LOGS"/*.*.*.log |
  { awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }'; } >"$WORK/sum"
read -r PASSED FAILED <"$WORK/sum"
echo "$((SECONDS)) s; logs in ${LOGS#"$ROOT"/}"
echo "matrix: $PASSED passed, $FAILED failed"
((FAILED == 0 && PASSED > 0))
