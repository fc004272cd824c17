#!/usr/bin/env bash
# The official conformance suite (@modelcontextprotocol/conformance) against several endpoints: all server scenarios
# that it has for one revision, required or not. Which they are, the suite itself says.
#
# usage: suite.sh --suite MODULES [--suite MODULES]... --out DIR [--revision 2025-11-25] [--also SCENARIO]... [--compare]
#                 [--uncarried NAME:SCENARIO:REASON]... [--across NAME:ERA]... NAME=URL...
#        NAME=!REASON stands for an endpoint that is not there, and why.
#
# --also takes a scenario that belongs to no revision, such as those of an extension.
# MODULES/node_modules holds a version of the suite; node >= 22 is in PATH. The first endpoint is the server itself,
# the others are gateways in front of it: see verdicts.mjs for the verdict, also for what --compare changes.
# The suite can send no key, so the endpoints must be keyless ones.
# One process runs all scenarios of one endpoint: a process each costs ten times the processor time.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WIDE=4           # endpoints at once
SCENARIO_MS=20000 # one scenario, if the version of the suite takes a bound
ENDPOINT_S=300   # all scenarios of one endpoint

SUITES=() OUT='' REVISION=2025-11-25 ALSO=() ENDPOINTS=() VERDICT=()
while (($#)); do
  case $1 in
    --suite) SUITES+=("${2:?MODULES}"); shift ;;
    --out) OUT=${2:?DIR}; shift ;;
    --revision) REVISION=${2:?REVISION}; shift ;;
    --also) ALSO+=("${2:?SCENARIO}"); shift ;;
    --compare) VERDICT+=(--compare) ;;
    --uncarried) VERDICT+=(--uncarried "${2:?NAME:SCENARIO:REASON}"); shift ;;
    --across) VERDICT+=(--across "${2:?NAME:ERA}"); shift ;;
    *=*) ENDPOINTS+=("$1") ;;
    *) echo "suite.sh: what is $1?" >&2; exit 2 ;;
  esac
  shift
done
if ((${#SUITES[@]} == 0 || ${#ENDPOINTS[@]} == 0)) || [[ -z $OUT ]]; then
  sed -n '5,7s/^# //p' "$0" >&2
  exit 2
fi
trap 'jobs -p | xargs -r kill 2>/dev/null' EXIT
trap 'exit 143' INT TERM HUP

# All scenarios of one endpoint, in a subshell, which ends what it started.
endpoint() { # PROGRAM URL OUT
  local url=$2 out=$3 scenario
  set -- node "$1" server --url "$url" -o "$out"
  trap 'jobs -p | xargs -r kill 2>/dev/null; exit 143' TERM
  timeout --foreground -k 5 "$ENDPOINT_S" "$@" "${chosen[@]}" &
  wait $!
  for scenario in "${also[@]}"; do
    timeout --foreground -k 5 60 "$@" --scenario "$scenario" &
    wait $!
  done
}

runs=()
for modules in "${SUITES[@]}"; do
  package=$modules/node_modules/@modelcontextprotocol/conformance
  program=$package/dist/index.js
  version=$(node -p 'require(require("node:path").resolve(process.argv[1])).version' "$package/package.json") || exit 1
  out=$OUT/$version
  rm -rf "$out" && mkdir -p "$out" || exit 1
  # What a revision requires, if this version of the suite says it; else all the scenarios of the revision.
  if node "$program" list --requirements "$REVISION" >"$out/list.txt" 2>/dev/null; then
    chosen=(--requirements "$REVISION" --timeout "$SCENARIO_MS")
  elif node "$program" list --server --spec-version "$REVISION" >"$out/list.txt" 2>"$out/list.err"; then
    chosen=(--suite all --spec-version "$REVISION")
  else
    echo "official suite $version: it does not know $REVISION: $(head -n 1 "$out/list.err")"
    continue
  fi
  also=()
  if [[ ${chosen[0]} == --requirements ]] && ((${#ALSO[@]})); then
    also=("${ALSO[@]}")
    # As the suite itself prints what it does not score.
    printf '  no-revision (%d):\n' "${#also[@]}" >>"$out/list.txt"
    printf '    - %s [server]\n' "${also[@]}" >>"$out/list.txt"
  fi
  began=$SECONDS
  for column in "${ENDPOINTS[@]}"; do
    name=${column%%=*} url=${column#*=}
    mkdir -p "$out/$name"
    if [[ $url == '!'* ]]; then
      echo "${url#!}" >"$out/$name/reason"
      continue
    fi
    while (($(jobs -rp | wc -l) >= WIDE)); do wait -n; done
    endpoint "$program" "$url" "$out/$name" >"$out/$name/log" 2>&1 </dev/null &
  done
  # Its exit code is not asked: the verdict is read from the checks.
  wait
  echo "$((SECONDS - began))" >"$out/seconds"
  runs+=("$out")
done

((${#runs[@]})) || { echo "FAILED official suite: no version of it knows the revision $REVISION"; exit 1; }
names=("${ENDPOINTS[@]%%=*}")
node "$HERE/verdicts.mjs" "${VERDICT[@]}" --revision "$REVISION" --columns "$(IFS=,; echo "${names[*]}")" "${runs[@]}"
