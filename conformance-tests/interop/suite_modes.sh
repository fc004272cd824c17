# The official suite against the fixture, directly and through a gateway in each way that a gateway can stand in front
# of it. Sourced by ./test, whose functions it uses; each way has a gateway of its own.
# shellcheck shell=bash disable=SC2153,SC2154

ENDPOINTS=() # NAME=URL, or NAME=!REASON, as suite.sh takes them

# mode NAME PATH ALIAS...: a gateway with the alias files that are in its folder.
mode() {
  local name=$1 path=$2 port pid log=$LOGS/suite-gateway-$1.log reason=''
  shift 2
  echo "aliases: $TEST/aliases-suite/$name" >"$TEST/suite-$name.yaml" # without keys: the suite can send none
  port=$(free_port)
  : >"$log"
  start group "$log" "$BIN" serve --config "$TEST/suite-$name.yaml" --host 127.0.0.1 --port "$port"
  pid=$LAUNCHED
  if ! await_port "$port" 20 "$pid" "the gateway for $name" >/dev/null; then
    reason="the gateway does not start: $(grep -v '^ *$' "$log" | head -n 5 | tr '\n' ' ')"
  elif ! python3 "$INTEROP/await_ready.py" "http://127.0.0.1:$port" 20 "$@" >>"$log" 2>&1; then
    reason="the gateway's upstream is not ready: $(tail -n 1 "$log")"
  fi
  [[ -z $reason ]] || end "$pid"
  ENDPOINTS+=("$name=${reason:+!$reason}${reason:-http://127.0.0.1:$port$path}")
}

suite() {
  local at=$TEST/aliases-suite sse_port dummy_port endpoint name url options suites=() folder features
  need_gateway "official suite" && need_fixture "official suite" || return
  FIXTURE_PORT=$(free_port) sse_port=$(free_port) dummy_port=$(free_port)
  if ! start_server fixture "$FIXTURE_PORT" "$FIXTURE" --port "$FIXTURE_PORT" --sse-port "$sse_port" ||
    ! await_port "$sse_port" 10 "$LAUNCHED" fixture ||
    ! start_server dummy "$dummy_port" "$NODE/node" "$INTEROP/dummy_server.mjs" "$dummy_port"; then
    end_servers
    return
  fi

  rm -rf "$at" && mkdir -p "$at"/{alias-http,alias-sse,alias-stdio,aggregate}
  write_alias "$at/alias-http" fixture "http://127.0.0.1:$FIXTURE_PORT/mcp" http
  write_alias "$at/alias-sse" fixture "http://127.0.0.1:$sse_port/sse" sse
  printf 'command: "%s"\nargs: ["--stdio"]\n' "$FIXTURE" >"$at/alias-stdio/fixture.yaml"
  write_alias "$at/aggregate" fixture "http://127.0.0.1:$FIXTURE_PORT/mcp" http
  echo 'prefix: false' >>"$at/aggregate/fixture.yaml"
  write_alias "$at/aggregate" other "http://127.0.0.1:$dummy_port/mcp" http
  ENDPOINTS=("direct=http://127.0.0.1:$FIXTURE_PORT/mcp")
  mode alias-http /mcp/fixture fixture
  mode alias-sse /mcp/fixture fixture
  mode alias-stdio /mcp/fixture fixture
  mode aggregate /mcp fixture other

  for folder in "${SUITES[@]}"; do suites+=(--suite "$folder"); done
  step "suite: official conformance suite" 1300 env "PATH=$NODE:$PATH" "$INTEROP/suite.sh" "${suites[@]}" \
    --uncarried "alias-sse:server-sse-polling:HTTP+SSE has one stream for all calls, so that the server cannot close that of one" \
    --uncarried "alias-stdio:server-sse-polling:standard output is one stream for all calls, so that the server cannot close that of one" \
    --out "$LOGS/suite" "${ENDPOINTS[@]}"
  # The table is worth reading in any case; what failed is shown already.
  grep -v -e '^FAILED' -e '^official suite: ' "$LOGS/suite--official-conformance-suite.log"

  features=("$NODE/node" "$INTEROP/features.mjs" --modules "$CLIENTS")
  step "suite: features, direct sse" 300 "${features[@]}" --label "features direct sse" \
    "http://127.0.0.1:$sse_port/sse" --transport sse
  step "suite: features, direct stdio" 300 "${features[@]}" --label "features direct stdio" --stdio "$FIXTURE" --stdio
  for endpoint in "${ENDPOINTS[@]}"; do
    name=${endpoint%%=*} url=${endpoint#*=}
    options=(--label "features $name")
    [[ $name != aggregate ]] || options+=(--beside other-)
    if [[ $url == '!'* ]]; then
      not_run "suite: features, $name" "${url#!}"
    else
      step "suite: features, $name" 400 "${features[@]}" "${options[@]}" "$url"
      # And for a client of HTTP+SSE, which the suite does not know either.
      [[ $name != alias-http ]] || step "suite: features, $name, client over sse" 400 "${features[@]}" \
        --label "features $name, client over sse" "$url/sse" --transport sse
    fi
  done
  end_servers
  # With servers of its own: what one of its clients changes would be told to those above.
  step "suite: lossless" 200 env "PATH=$NODE:$PATH" "$INTEROP/lossless.sh" --suite "${SUITES[0]}" --clients "$CLIENTS" \
    --gateway "$BIN" --fixture "$FIXTURE" --out "$LOGS/lossless"
  step "suite: client half" 400 env "PATH=$NODE:$PATH" "$INTEROP/client_half.sh" "${suites[@]}" \
    --clients "$CLIENTS" --gateway "$BIN" --out "$LOGS/suite-client"
}
