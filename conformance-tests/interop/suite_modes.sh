# The official suite against the fixture, directly and through a gateway in each way that a gateway can stand in front
# of it, also where the fixture speaks only the other era than the suite. Sourced by ./test, whose functions it uses;
# each way has a gateway and a fixture of its own: a fixture tells all of its clients of what one of them has changed.
# shellcheck shell=bash disable=SC2153,SC2154

ENDPOINTS=() # NAME=URL, or NAME=!REASON, as suite.sh takes them
SSE_PORT=''

# own_fixture NAME [OPTION]...: its ports are $FIXTURE_PORT and $SSE_PORT.
own_fixture() {
  local name=suite-fixture-$1
  shift
  FIXTURE_PORT=$(free_port) SSE_PORT=$(free_port)
  start_server "$name" "$FIXTURE_PORT" "$FIXTURE" --port "$FIXTURE_PORT" --sse-port "$SSE_PORT" "$@" &&
    await_port "$SSE_PORT" 10 "$LAUNCHED" "$name"
}

# behind NAME WAY ERA [OPTION]...: a gateway whose alias file says this era, in front of a fixture with these options.
# WAY is how it is reached: http, sse, stdio; or aggregate, over HTTP with an empty prefix and beside another server.
behind() {
  local name=$1 way=$2 era=$3 folder=$TEST/aliases-suite/$1 path=/mcp/fixture aliases=(fixture) port pid log reason='' words
  shift 3
  log=$LOGS/suite-gateway-$name.log
  mkdir -p "$folder"
  [[ $way == stdio ]] || own_fixture "$name" "$@" || return
  case $way in
    sse) write_alias "$folder" fixture "http://127.0.0.1:$SSE_PORT/sse" sse ;;
    stdio)
      printf -v words ', "%s"' "$@"
      (($#)) || words=''
      printf 'command: "%s"\nargs: ["--stdio"%s]\n' "$FIXTURE" "$words" >"$folder/fixture.yaml" ;;
    *) write_alias "$folder" fixture "http://127.0.0.1:$FIXTURE_PORT/mcp" http ;;
  esac
  [[ $era == auto ]] || echo "era: $era" >>"$folder/fixture.yaml"
  if [[ $way == aggregate ]]; then
    echo 'prefix: false' >>"$folder/fixture.yaml"
    write_alias "$folder" other "http://127.0.0.1:$DUMMY_PORT/mcp" http
    path=/mcp aliases=(fixture other)
  fi
  echo "aliases: $folder" >"$TEST/suite-$name.yaml" # without keys: the suite can send none
  port=$(free_port)
  : >"$log"
  start group "$log" "$BIN" serve --config "$TEST/suite-$name.yaml" --host 127.0.0.1 --port "$port"
  pid=$LAUNCHED
  if ! await_port "$port" 20 "$pid" "the gateway for $name" >/dev/null; then
    reason="the gateway does not start: $(grep -v '^ *$' "$log" | head -n 5 | tr '\n' ' ')"
  elif ! python3 "$INTEROP/await_ready.py" "http://127.0.0.1:$port" 20 "${aliases[@]}" >>"$log" 2>&1; then
    reason="the gateway's upstream is not ready: $(tail -n 1 "$log")"
  fi
  [[ -z $reason ]] || end "$pid"
  ENDPOINTS+=("$name=${reason:+!$reason}${reason:-http://127.0.0.1:$port$path}")
}

# The servers that all ways share, and the fixture itself.
begin_ways() {
  rm -rf "$TEST/aliases-suite"
  DUMMY_PORT=$(free_port)
  start_server dummy "$DUMMY_PORT" "$NODE/node" "$INTEROP/dummy_server.mjs" "$DUMMY_PORT" && own_fixture direct || return
  ENDPOINTS=("direct=http://127.0.0.1:$FIXTURE_PORT/mcp")
}

# official REVISION OPTION-OF-SUITE.SH...: against all of the endpoints, with its table.
official() {
  local revision=$1 log=$LOGS/suite--official-$1.log
  shift
  step "suite: official $revision" 1300 env "PATH=$NODE:$PATH" "$INTEROP/suite.sh" --revision "$revision" \
    --out "$LOGS/suite-$revision" "$@" "${ENDPOINTS[@]}"
  # The table is worth reading in any case; what failed is shown already.
  grep -v -e '^FAILED' -e '^official suite: ' "$log"
}

handshake_suite() {
  local endpoint name url options features suites=() folder ONE_STREAM direct_sse
  ONE_STREAM='all calls have one stream there, so that the server cannot close that of one'
  begin_ways || return
  direct_sse=http://127.0.0.1:$SSE_PORT/sse
  behind alias-http http handshake
  behind alias-sse sse auto
  behind alias-stdio stdio handshake
  behind aggregate aggregate handshake
  behind across-http http auto --only stateless
  behind across-stdio stdio auto --only stateless
  behind across-aggregate aggregate auto --only stateless
  for folder in "${SUITES[@]}"; do suites+=(--suite "$folder"); done
  official 2025-11-25 "${suites[@]}" \
    --uncarried "alias-sse:server-sse-polling:$ONE_STREAM" --uncarried "alias-stdio:server-sse-polling:$ONE_STREAM" \
    --across across-http:stateless --across across-stdio:stateless --across across-aggregate:stateless

  features=("$NODE/node" "$INTEROP/features.mjs" --modules "$CLIENTS")
  step "suite: features, direct sse" 300 "${features[@]}" --label "features direct sse" "$direct_sse" --transport sse
  step "suite: features, direct stdio" 300 "${features[@]}" --label "features direct stdio" --stdio "$FIXTURE" --stdio
  for endpoint in "${ENDPOINTS[@]}"; do
    name=${endpoint%%=*} url=${endpoint#*=}
    options=(--label "features $name")
    [[ $name != *aggregate ]] || options+=(--beside other-)
    if [[ $url == '!'* ]]; then
      not_run "suite: features, $name" "${url#!}"
    else
      step "suite: features, $name" 400 "${features[@]}" "${options[@]}" "$url"
      # And for a client of HTTP+SSE, which the suite does not know either.
      [[ $name != *-http ]] || step "suite: features, $name, client over sse" 400 "${features[@]}" \
        --label "features $name, client over sse" "$url/sse" --transport sse
    fi
  done
  end_servers
}

stateless_suite() {
  begin_ways || return
  behind alias-http http auto
  behind alias-stdio stdio stateless
  behind aggregate aggregate stateless
  behind across-http http auto --only handshake
  behind across-sse sse auto --only handshake
  behind across-stdio stdio auto --only handshake
  behind across-aggregate aggregate auto --only handshake
  official 2026-07-28 --suite "${SUITES[0]}" \
    --also sep-2640-skills-directory --also sep-2640-skills-enumeration --also sep-2640-skills-manifest \
    --across across-http:handshake --across across-sse:handshake --across across-stdio:handshake \
    --across across-aggregate:handshake
  end_servers
}

lossless() {
  # With servers of its own: what one of its clients changes would be told to those of others.
  step "suite: lossless" 200 env "PATH=$NODE:$PATH" "$INTEROP/lossless.sh" --suite "${SUITES[0]}" --clients "$CLIENTS" \
    --gateway "$BIN" --fixture "$FIXTURE" --out "$LOGS/lossless"
}

client_half() {
  local folder suites=()
  for folder in "${SUITES[@]}"; do suites+=(--suite "$folder"); done
  step "suite: client half 2025-11-25" 400 env "PATH=$NODE:$PATH" "$INTEROP/client_half.sh" "${suites[@]}" \
    --clients "$CLIENTS" --eras "$ERAS" --gateway "$BIN" --out "$LOGS/suite-client-2025-11-25"
  step "suite: client half 2026-07-28" 400 env "PATH=$NODE:$PATH" "$INTEROP/client_half.sh" --suite "${SUITES[0]}" \
    --revision 2026-07-28 --clients "$CLIENTS" --eras "$ERAS" --gateway "$BIN" --out "$LOGS/suite-client-2026-07-28"
}

suite() { # [PART]...
  local part
  need_gateway "official suite" && need_fixture "official suite" || return
  (($#)) || set -- 2025-11-25 2026-07-28 lossless client
  for part; do
    case $part in
      2025-11-25) handshake_suite || end_servers ;;
      2026-07-28) stateless_suite || end_servers ;;
      lossless) lossless ;;
      client) client_half ;;
    esac
  done
}
