#!/usr/bin/env bash
# The command line of the MCP Inspector (@modelcontextprotocol/inspector 2.12.0) lists and calls over both
# transports with a key, and gets an error that helps without one.
#
# usage: inspector.sh BASE-URL KEY MODULES TOOL [ARG=VALUE EXPECTED]
#   e.g. inspector.sh http://127.0.0.1:4000 KEY DIR everything-echo message=hello 'Echo: hello'
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=checks.sh
source "$HERE/checks.sh"
LABEL="inspector"
BASE=${1:?BASE-URL} KEY=${2-} INSPECTOR=${3:?MODULES}/node_modules/.bin/mcp-inspector
TOOL=${4:?TOOL} ARGUMENT=${5-} EXPECTED=${6-}

HOME=$(mktemp -d)
export HOME
trap 'rm -rf "$HOME"' EXIT

with_key=()
[[ -z $KEY ]] || with_key=(--header "Authorization: Bearer $KEY")

OUT= CODE=0
inspect() { # TRANSPORT OPTIONS...
  local path=/mcp
  [[ $1 == http ]] || path=/sse
  CODE=0
  # --stored-auth-only: never open a browser for OAuth; then it shows what the server said.
  OUT=$(timeout --foreground 60 "$INSPECTOR" --cli "$BASE$path" --transport "$1" --stored-auth-only "${@:2}" 2>&1) || CODE=$?
}

for transport in http sse; do
  inspect "$transport" --method tools/list "${with_key[@]}"
  contains "$transport: lists $TOOL" "$OUT" "\"name\": \"$TOOL\""
  inspect "$transport" --method tools/call --tool-name "$TOOL" ${ARGUMENT:+--tool-arg "$ARGUMENT"} "${with_key[@]}"
  contains "$transport: calls $TOOL" "$OUT" "${EXPECTED:-\"content\"}"
  [[ $CODE == 0 ]] && ok "$transport: the call's exit code is 0" || failed "$transport: the call's exit code" "expected 0, came $CODE: $OUT"
  inspect "$transport" --method tools/call --tool-name no-such-tool "${with_key[@]}"
  contains "$transport: an unknown tool is an error" "$OUT" 'not.found|unknown'
  if [[ -n $KEY ]]; then
    inspect "$transport" --method tools/list
    contains "$transport: without a key it says that authorisation is needed" "$OUT" 'auth_required|401|unauthori'
    ((CODE != 0)) && ok "$transport: without a key the exit code is not 0" || failed "$transport: without a key" "expected a failure, came: $OUT"
    inspect "$transport" --method tools/list --header "Authorization: Bearer not-$KEY"
    contains "$transport: with a wrong key it says so" "$OUT" 'auth_required|401|unauthori'
    if [[ $transport == http ]]; then
      contains "$transport: with a wrong key the gateway's own words are shown" "$OUT" 'key'
    fi
  fi
done
finish
