#!/usr/bin/env bash
# The official conformance suite (@modelcontextprotocol/conformance) against several endpoints: all server scenarios
# that it has for one revision, required or not. Which they are, the suite itself says.
#
# usage: suite.sh --suite MODULES [--suite MODULES]... --out DIR [--revision 2025-11-25] [--compare] NAME=URL...
#        NAME=!REASON stands for an endpoint that is not there, and why.
#
# MODULES/node_modules holds a version of the suite; node >= 22 is in PATH. The first endpoint is the server itself,
# the others are gateways in front of it: see verdicts.mjs for the verdict, also for what --compare changes.
# The suite can send no key, so the endpoints must be keyless ones.
# One process runs all scenarios of one endpoint: a process each costs ten times the processor time.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WIDE=4           # endpoints at once
SCENARIO_MS=20000 # one scenario, if the version of the suite takes a bound
ENDPOINT_S=300   # all scenarios of one endpoint

SUITES=() OUT='' REVISION=2025-11-25 COLUMNS_=() VERDICT=()
while (($#)); do
  case $1 in
    --suite) SUITES+=("${2:?MODULES}"); shift ;;
    --out) OUT=${2:?DIR}; shift ;;
    --revision) REVISION=${2:?REVISION}; shift ;;
    --compare) VERDICT+=(--compare) ;;
    *=*) COLUMNS_+=("$1") ;;
    *) echo "suite.sh: what is $1?" >&2; exit 2 ;;
  esac
  shift
done
((${#SUITES[@]} && ${#COLUMNS_[@]})) && [[ -n $OUT ]] || { sed -n '5,6s/^# //p' "$0" >&2; exit 2; }

runs=()
for modules in "${SUITES[@]}"; do
  package=$modules/node_modules/@modelcontextprotocol/conformance
  program=$package/dist/index.js
  version=$(node -p 'require(require("node:path").resolve(process.argv[1])).version' "$package/package.json") || exit 1
  out=$OUT/$version
  rm -rf "$out" && mkdir -p "$out" || exit 1
  # 0.1.16 knows no requirements; there all the scenarios of the revision are taken.
  if node "$program" server --help | grep -q -- --requirements; then
    chosen=(--requirements "$REVISION" --timeout "$SCENARIO_MS")
    node "$program" list --requirements "$REVISION" >"$out/list.txt" || exit 1
  else
    chosen=(--suite all --spec-version "$REVISION")
    node "$program" list --server --spec-version "$REVISION" >"$out/list.txt" || exit 1
  fi
  began=$SECONDS
  for column in "${COLUMNS_[@]}"; do
    name=${column%%=*} url=${column#*=}
    mkdir -p "$out/$name"
    if [[ $url == '!'* ]]; then
      echo "${url#!}" >"$out/$name/reason"
      continue
    fi
    while (($(jobs -rp | wc -l) >= WIDE)); do wait -n; done
    timeout --foreground -k 5 "$ENDPOINT_S" node "$program" server --url "$url" "${chosen[@]}" -o "$out/$name" \
      >"$out/$name/log" 2>&1 </dev/null &
  done
  # Its exit code is not asked: the verdict is read from the checks.
  wait
  echo "$((SECONDS - began))" >"$out/seconds"
  runs+=("$out")
done

names=("${COLUMNS_[@]%%=*}")
node "$HERE/verdicts.mjs" "${VERDICT[@]}" --revision "$REVISION" --columns "$(IFS=,; echo "${names[*]}")" "${runs[@]}"
