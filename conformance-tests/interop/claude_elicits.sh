#!/usr/bin/env bash
# Claude Code (@anthropic-ai/claude-code 2.1.330) calls tools that ask the user, in the stateless era, which it finds by
# itself. The model is model_server.mjs, which calls what it is told to call; the user is a hook that fills in forms.
# It needs no login for this, and knows nothing of the home of whoever runs it.
#
# usage: claude_elicits.sh URL KEY MODULES LABEL [PREFIX]
#
# URL is an endpoint with the names of the fixture, after PREFIX; MODULES/node_modules holds the package; node >= 22 is
# in PATH.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=checks.sh
source "$HERE/checks.sh"
URL=${1:?URL} KEY=${2-} CLAUDE=${3:?MODULES}/node_modules/.bin/claude LABEL=${4:?LABEL} PREFIX=${5-}

WORK=$(mktemp -d) MODEL=''
finish_all() {
  trap '' INT TERM HUP
  [[ -z $MODEL ]] || kill "$MODEL" 2>/dev/null
  rm -rf "$WORK"
}
trap finish_all EXIT
trap 'exit 143' INT TERM HUP
mkdir "$WORK/project" && cd "$WORK/project" || exit 1

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node "$HERE/model_server.mjs" "$port" >"$WORK/model.log" 2>&1 </dev/null &
MODEL=$!
for ((tries = 0; tries < 100; tries++)); do
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  sleep 0.1
done

umask 077
# shellcheck disable=SC2016 # what is quoted is JavaScript
node -e '
  const [file, url, key] = process.argv.slice(1);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  require("node:fs").writeFileSync(file, JSON.stringify({ mcpServers: { gw: { type: "http", url, headers } } }));
' "$WORK/mcp.json" "$URL" "$KEY"
cat >"$WORK/answer.mjs" <<'END'
import { readFileSync } from 'node:fs';
const { message, requested_schema } = JSON.parse(readFileSync(0, 'utf8'));
const known = { username: message, email: 'a@example.com', name: 'Alice', color: 'blue' };
const content = Object.fromEntries(Object.keys(requested_schema.properties).map(name => [name, known[name]]));
console.log(JSON.stringify({ hookSpecificOutput: { hookEventName: 'Elicitation', action: 'accept', content } }));
END
printf '{"hooks":{"Elicitation":[{"hooks":[{"type":"command","command":"node %s"}]}]}}' "$WORK/answer.mjs" >"$WORK/settings.json"

# told TOOL ARGUMENTS: what the agent says when it is told to call the tool. Nothing of this environment is passed on.
told() {
  : >"$WORK/debug"
  env -i "PATH=$PATH" "HOME=$WORK" DISABLE_AUTOUPDATER=1 DISABLE_TELEMETRY=1 DISABLE_ERROR_REPORTING=1 \
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 NO_PROXY=127.0.0.1 "ANTHROPIC_BASE_URL=http://127.0.0.1:$port" \
    ANTHROPIC_API_KEY=none ENABLE_TOOL_SEARCH=false MCP_CONNECTION_NONBLOCKING=false \
    timeout --foreground 90 "$CLAUDE" -p "CALL mcp__gw__$PREFIX$1 $2" --allowedTools mcp__gw \
    --mcp-config "$WORK/mcp.json" --strict-mcp-config --settings "$WORK/settings.json" --debug-file "$WORK/debug" \
    </dev/null 2>&1
}

said=$(told test_elicitation '{"message":"who?"}')
contains "speaks the stateless era" "$(grep -F 'Connection established' "$WORK/debug")" '"protocolEra":"modern"'
contains "a tool asks the user, who answers" "$said" '^RESULT: .*action=accept, content=.*"username":"who\?"'
said=$(told test_input_required_result_multi_round '{}')
contains "a tool asks twice in a row" "$said" '^RESULT: .*the color is blue'
finish
