#!/usr/bin/env bash
# The client half of the official suite: it plays the server, and judges what reaches it. The reference client is
# tried against it directly, then through a gateway, which is the client that the suite sees; then through a gateway once
# more, as a client that speaks only the other era than the suite.
# All of the revision's scenarios are taken but those that begin with auth/, which want a browser's part as well.
#
# usage: client_half.sh --suite MODULES [--suite MODULES]... --clients MODULES --eras MODULES --gateway PROGRAM --out DIR
#                       [--revision 2025-11-25]
#
# MODULES/node_modules holds a version of the suite, or the TypeScript SDK: its first generation, then its second; node >= 22 is in PATH.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=checks.sh
source "$HERE/checks.sh"
LABEL="official suite, client half"
WIDE=4 # scenarios at once

SUITES=() OUT='' REVISION=2025-11-25
while (($#)); do
  case $1 in
    --suite) SUITES+=("${2:?MODULES}") ;;
    --clients) CLIENTS=${2:?MODULES} ;;
    --eras) ERAS=${2:?MODULES} ;;
    --gateway) export GATEWAY=${2:?PROGRAM} ;;
    --out) OUT=${2:?DIR} ;;
    --revision) REVISION=${2:?REVISION} ;;
    *) echo "client_half.sh: what is $1?" >&2; exit 2 ;;
  esac
  shift 2
done
if ((${#SUITES[@]} == 0)) || [[ -z $OUT || -z ${CLIENTS-} || -z ${ERAS-} || -z ${GATEWAY-} ]]; then
  sed -n '7,8s/^# //p' "$0" >&2
  exit 2
fi
trap 'jobs -p | xargs -r kill 2>/dev/null' EXIT
trap 'exit 143' INT TERM HUP

# The suite cuts its command at spaces and gives it to a shell, so paths come by the environment.
export REFERENCE_CLIENT=$HERE/reference_client.mjs THROUGH_GATEWAY=$HERE/through_gateway.sh
# shellcheck disable=SC2016 # that shell expands them
declare -A COMMAND=([direct]='node "$REFERENCE_CLIENT"')
COMMAND[gateway]="\"\$THROUGH_GATEWAY\" ${COMMAND[direct]}"
COMMAND[across]=${COMMAND[gateway]}
declare -A SPEAKS=([direct]=stateless [gateway]=stateless [across]=handshake)
if [[ $REVISION < 2026 ]]; then SPEAKS=([direct]=handshake [gateway]=handshake [across]=stateless); fi
WAYS=(direct gateway across)

# The client scenarios of the revision, required or not.
scenarios() { # PROGRAM
  if node "$1" client --help | grep -q -- --requirements; then
    node "$1" list --requirements "$REVISION"
  else
    node "$1" list --client --spec-version "$REVISION"
  fi | awk '/^Client scenarios/ { inside = 1 } /^Run and reported/ { inside = 0; others = 1 }
    inside && $1 == "-" { print $2 } others && /\[client\]$/ { print $2 }' | grep -v '^auth/'
  # Those of an extension belong to no revision.
  [[ $REVISION < 2026 ]] || node "$1" list --client | awk '$1 == "-" && $2 ~ /^sep-2640-/ { print $2 }'
}

# What a client of a way can try: the first version of the SDK knows nothing of skills.
tries() { # WAY NAME
  [[ ${SPEAKS[$1]} == stateless || $2 != sep-2640-* ]]
}

# One scenario, in a subshell, which ends what it started.
run() { # PROGRAM WAY NAME OUT
  local code=0 version=(--spec-version "$REVISION") modules=$CLIENTS
  [[ ${SPEAKS[$2]} == handshake ]] || modules=$ERAS
  [[ $3 != sep-2640-* ]] || version=()
  ERA=${SPEAKS[$2]} MODULES=$modules timeout --foreground -k 5 60 node "$1" client --command "${COMMAND[$2]}" --scenario "$3" \
    "${version[@]}" --timeout 30000 -o "$4" >"$4.log" 2>&1 </dev/null &
  # shellcheck disable=SC2064 # this process, now
  trap "kill $!" TERM
  wait $! || code=$?
  echo "$code" >"$4.code"
}

verdict() { # OUT-DIR EXIT-CODE WHAT
  local says detail
  # shellcheck disable=SC2016 # what is quoted is JavaScript
  says=$(find "$1" -name checks.json -exec cat {} + 2>/dev/null | node -e '
    const checks = JSON.parse(require("node:fs").readFileSync(0, "utf8") || "[]");
    const of = (...wanted) => checks.filter(check => wanted.includes(check.status));
    const bad = of("FAILURE", "WARNING");
    const message = check => check.errorMessage ?? check.details?.message ?? check.description;
    console.log(bad.length || !of("SUCCESS").length ? "failed" : "passed");
    console.log(bad.length ? bad.map(check => `${check.id}: ${message(check)}`).join(" | ")
      : of("SUCCESS").length ? `${of("SUCCESS").length} checks` : "the suite made no checks");
  ' 2>/dev/null)
  detail=$(tail -n +2 <<<"$says")
  if [[ $2 == 0 && $says == passed* ]]; then
    ok "$3 ($detail)"
  else
    failed "$3" "expected every check to pass, came exit code $2: $detail; the client: $(find "$1" -name stderr.txt -exec grep -m 1 -E 'Error' {} +)"
  fi
}

for modules in "${SUITES[@]}"; do
  package=$modules/node_modules/@modelcontextprotocol/conformance
  program=$package/dist/index.js
  version=$(node -p 'require(require("node:path").resolve(process.argv[1])).version' "$package/package.json") || exit 1
  out=$OUT/$version
  rm -rf "$out" && mkdir -p "$out" || exit 1
  mapfile -t names < <(scenarios "$program")
  ((${#names[@]})) || failed "$version" "expected scenarios for $REVISION, came none"
  for way in "${WAYS[@]}"; do
    for name in "${names[@]}"; do
      tries "$way" "$name" || continue
      while (($(jobs -rp | wc -l) >= WIDE)); do wait -n; done
      mkdir -p "$out/$way/$(dirname "$name")"
      run "$program" "$way" "$name" "$out/$way/$name" &
    done
  done
  wait
  for way in "${WAYS[@]}"; do
    for name in "${names[@]}"; do
      tries "$way" "$name" || continue
      verdict "$out/$way/$name" "$(cat "$out/$way/$name.code")" "$version: $way, client of the ${SPEAKS[$way]} era: $name"
    done
  done
done
finish
