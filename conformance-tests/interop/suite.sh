#!/usr/bin/env bash
# The official conformance suite (@modelcontextprotocol/conformance 0.2.0-alpha.12) against one endpoint,
# scenario by scenario, at protocol version 2025-11-25.
#
# usage: suite.sh URL MODULES [OUT-DIR]     (MODULES/node_modules holds the suite; node >= 22 in PATH)
# The suite can send no key, so the endpoint must be a keyless one on loopback.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=checks.sh
source "$HERE/checks.sh"
LABEL="official suite"
URL=${1:?URL} SUITE=${2:?MODULES}/node_modules/@modelcontextprotocol/conformance/dist/index.js

SCENARIOS=(
  # initialize, session life cycle, ping
  server-initialize
  server-session-lifecycle
  ping
  # tools
  tools-list
  tools-call-simple-text
  tools-call-image
  tools-call-audio
  tools-call-embedded-resource
  tools-call-mixed-content
  tools-call-error
  tools-call-with-progress
  tools-call-with-logging
  json-schema-2020-12
  # headers, streams, DNS rebinding
  server-sse-multiple-streams
  dns-rebinding-protection
)

# Required at 2025-11-25, but of parts that the next issue builds.
NOT_IN_THIS_ISSUE=(
  # what a server asks of its client
  tools-call-sampling tools-call-elicitation elicitation-sep1034-defaults elicitation-sep1330-enums
  # logging as such, completion
  logging-set-level completion-complete
  # resources and prompts
  resources-list resources-read-text resources-read-binary resources-templates-read
  resources-subscribe resources-unsubscribe
  prompts-list prompts-get-simple prompts-get-with-args prompts-get-embedded-resource prompts-get-with-image
)
# Pending in the suite itself, never scored: server-sse-polling.
# http-header-validation, http-custom-header-server-validation and server-stateless speak 2026-07-28 only.

OUT=$(mktemp -d)
KEEP=${3-}
trap 'rm -rf "$OUT"' EXIT

for scenario in "${SCENARIOS[@]}"; do
  code=0
  timeout --foreground 90 node "$SUITE" server --url "$URL" --scenario "$scenario" --spec-version 2025-11-25 \
    -o "$OUT/$scenario" >"$OUT/$scenario.log" 2>&1 || code=$?
  # The verdict is read from the checks themselves: a run without any check is not a pass.
  verdict=$(find "$OUT/$scenario" -name checks.json -exec cat {} + 2>/dev/null | node -e '
    const checks = JSON.parse(require("node:fs").readFileSync(0, "utf8") || "[]");
    const of = status => checks.filter(check => check.status === status);
    const says = check => `${check.id}: ${check.errorMessage ?? ""}`;
    const bad = [...of("FAILURE"), ...of("WARNING")];
    console.log(bad.length || !of("SUCCESS").length ? "failed" : "passed");
    console.log(bad.length ? bad.map(says).join(" | ") : `${of("SUCCESS").length} checks`
      + (of("SKIPPED").length ? `, skipped by the suite: ${of("SKIPPED").map(c => c.id).join(" ")}` : ""));
  ' 2>/dev/null)
  detail=$(tail -n +2 <<<"$verdict")
  if [[ $code == 0 && $verdict == passed* ]]; then
    ok "$scenario ($detail)"
  else
    failed "$scenario" "expected every check to pass, came exit code $code: ${detail:-$(tail -n 5 "$OUT/$scenario.log")}"
  fi
done
if [[ -n $KEEP ]]; then mkdir -p "$KEEP" && cp -r "$OUT"/. "$KEEP"/; fi
printf 'not in this issue: %s\n' "${NOT_IN_THIS_ISSUE[*]}"
finish
