# Real clients of the stateless era, end to end, with everything that they are asked answered: against the fixture, and
# against a gateway whose two upstreams speak one era each, at the endpoint of each and at that of both together.
# Sourced by ./test, whose functions it uses.
# shellcheck shell=bash disable=SC2153,SC2154

# stateless_client LABEL URL KEY [PREFIX [OPTION]...]: all of them at one endpoint.
stateless_client() {
  local label=$1 url=$2 key=$3 prefix=${4-} version
  shift $(($# < 4 ? $# : 4))
  for version in "${PYTHON_SDKS[@]}"; do
    # The first generation speaks only the other era.
    [[ $version == 1.* ]] || step "stateless: $label, python $version" 200 "$TEST/venv/mcp-$version/bin/python" \
      "$INTEROP/stateless_python.py" "$url" --client mcp --key "$key" --prefix "$prefix" --label "python $version, $label" "$@"
  done
  step "stateless: $label, fastmcp $FASTMCP" 200 "$TEST/venv/fastmcp-$FASTMCP/bin/python" \
    "$INTEROP/stateless_python.py" "$url" --client fastmcp --key "$key" --prefix "$prefix" --label "fastmcp $FASTMCP, $label" "$@"
  step "stateless: $label, claude code" 300 env "PATH=$NODE:$PATH" "$INTEROP/claude_elicits.sh" "$url" "$key" "$CLIENTS" \
    "claude code, $label" "$prefix"
}

interop_stateless() {
  local aliases=$TEST/aliases-stateless base era port
  need_gateway "stateless clients" && need_fixture "stateless clients" || return
  start_fixture || { end_servers; return; }
  stateless_client "direct" "http://127.0.0.1:$FIXTURE_PORT/mcp" ""
  rm -rf "$aliases" && mkdir -p "$aliases"
  for era in handshake stateless; do
    port=$(free_port)
    start_server "fixture-$era" "$port" "$FIXTURE" --port "$port" --only "$era" || { end_servers; return; }
    write_alias "$aliases" "$era" "http://127.0.0.1:$port/mcp" http
  done
  MASTER=$(secret) KEY=$(secret)
  write_config "$TEST/stateless.yaml" "$aliases"
  start_gateway stateless-gateway "$TEST/stateless.yaml" || { end_servers; return; }
  base=http://127.0.0.1:$GATEWAY_PORT
  if step "stateless: upstreams ready" 60 python3 "$INTEROP/await_ready.py" "$base" 50 --key "$MASTER" handshake stateless; then
    # Over streamable HTTP the library of the fixture sends log messages of the handshake era on the session's own stream:
    # there they belong to no call, and clients of the stateless era have no other place for them.
    stateless_client "handshake upstream" "$base/mcp/handshake" "$KEY" "" --no-logs
    stateless_client "stateless upstream" "$base/mcp/stateless" "$KEY"
    stateless_client "handshake upstream beside a stateless one" "$base/mcp" "$KEY" handshake- --no-logs
    stateless_client "stateless upstream beside a handshake one" "$base/mcp" "$KEY" stateless-
  else
    show "$LOGS/stateless-gateway.log"
    not_run "stateless: the clients" "the upstreams are not ready"
  fi
  end_servers
}
