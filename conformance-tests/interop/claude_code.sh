#!/usr/bin/env bash
# Claude Code (@anthropic-ai/claude-code 2.1.330) finds the gateway connected with a key, and says
# something that helps without one. It needs no login for this.
#
# usage: claude_code.sh BASE-URL KEY MODULES      (MODULES/node_modules holds the package; node >= 22 in PATH)
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=checks.sh
source "$HERE/checks.sh"
LABEL="claude code"
BASE=${1:?BASE-URL} KEY=${2-} CLAUDE=${3:?MODULES}/node_modules/.bin/claude

HOME=$(mktemp -d)
export HOME
trap 'rm -rf "$HOME"' EXIT
mkdir "$HOME/project" && cd "$HOME/project" || exit 1
export DISABLE_AUTOUPDATER=1 DISABLE_TELEMETRY=1 DISABLE_ERROR_REPORTING=1 CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1

with_key=()
[[ -z $KEY ]] || with_key=(--header "Authorization: Bearer $KEY")

add() { # NAME TRANSPORT PATH OPTIONS...
  local name=$1 transport=$2 path=$3 out
  shift 3
  if ! out=$("$CLAUDE" mcp add --transport "$transport" "$name" "$BASE$path" "$@" 2>&1); then
    failed "claude mcp add $name" "exit code 0 was expected, came: $out"
  fi
}

add good-http http /mcp "${with_key[@]}"
add good-sse sse /sse "${with_key[@]}"
# An endpoint of the legacy transport that was configured as `http`: Claude Code falls back by itself.
add fallback http /sse "${with_key[@]}"
if [[ -n $KEY ]]; then
  add wrong-http http /mcp --header "Authorization: Bearer not-$KEY"
  add wrong-sse sse /sse --header "Authorization: Bearer not-$KEY"
  add none-http http /mcp
  add none-sse sse /sse
fi

list=$(timeout --foreground 120 "$CLAUDE" mcp list 2>&1)
line() { grep -F -- "$1: " <<<"$list"; }

contains "mcp list says connected over streamable HTTP" "$(line good-http)" 'Connected'
contains "mcp list says connected over legacy SSE" "$(line good-sse)" 'Connected'
contains "an SSE address given as http is connected by fallback" "$(line fallback)" 'Connected'
if [[ -n $KEY ]]; then
  for name in wrong-http wrong-sse; do
    contains "$name: says that the key was rejected" "$(line $name)" 'Failed to connect.*(reject|401)'
  done
  contains "wrong-http: shows the gateway's own words about the key" "$(line wrong-http)" 'Error detail:.*key'
  for name in none-http none-sse; do
    contains "$name: does not connect" "$(line $name)" 'Failed to connect|Needs authentication'
    contains "$name: the message says that a key or the Authorization header is needed" "$(line $name)" 'key|Authorization'
  done
fi
finish
