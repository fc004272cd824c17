#!/usr/bin/env bash
# Clients of every era and transport against upstreams of every era and transport, feature by feature. See --help.
set -uo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../../.." && pwd)

usage() {
  cat <<'END'
usage: run.sh [direct | gateway] [--clients K,..] [--upstreams K,..] [--features F,..] [--swap] [--write FILE]

  direct    each client against the server of its own kind, without a gateway: the baseline
  gateway   (default) each client against each upstream, through a gateway

  K is a kind of kinds.json (h1105, h0326, h0618, h1125, s0728, pipeh, pipes), F a column of the table.
  --swap    each peer by the SDK of the other language
  --write   writes the table and what is impossible to a file (docs/bridge.md)

Environment: TRUNKLINE_BIN (default target/release/trunkline), TRUNKLINE_TEST_DIR (where ./test installed the
SDKs; default .test). Logs are in TRUNKLINE_TEST_DIR/logs/eras; results.jsonl has one line for each cell.
END
}

MODE=gateway
case ${1-} in
  direct | gateway) MODE=$1; shift ;;
  -h | --help) usage; exit 0 ;;
  '' | --*) ;;
  *) usage >&2; exit 2 ;;
esac

TEST=$(cd "${TRUNKLINE_TEST_DIR:-$ROOT/.test}" && pwd) || { echo "run.sh: first ./test install" >&2; exit 2; }
BIN=$(realpath -m -- "${TRUNKLINE_BIN:-${CARGO_TARGET_DIR:-$ROOT/target}/release/trunkline}")
[[ $MODE == direct || -x $BIN ]] || { echo "FAILED eras: there is no gateway at $BIN"; exit 1; }
LOGS=$TEST/logs/eras
rm -rf "$LOGS"
mkdir -p "$LOGS"
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost NO_COLOR=1 PYTHONDONTWRITEBYTECODE=1
exec python3 "$HERE/eras.py" "$MODE" --test "$TEST" --logs "$LOGS" --gateway "$BIN" "$@"
