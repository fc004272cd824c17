# What the real programs and the official suite are, and how they are installed. Sourced, bash.
# shellcheck shell=bash
#
# shellcheck disable=SC2034 # what is said here is for whoever sources it
# TEST is the folder for all of it (default .test in the repository); a stamp is written only after success.

STAMPS=$TEST/stamps
NODE=$TEST/npm/node/node_modules/node/bin
CLIENTS=$TEST/npm/clients
ERAS=$TEST/npm/eras
# The official suite: the version that knows what a revision requires, and the last stable one.
SUITES=("$TEST/npm/suite" "$TEST/npm/suite-0.1.16")
PYTHON_SDKS=(1.30.0 2.3.0)
FASTMCP=4.1.0
mkdir -p "$STAMPS" "$TEST/npm" "$TEST/venv"

stamped() { [[ -r $STAMPS/$1 && $(<"$STAMPS/$1") == "$2" ]]; }

npm_packages() { # DIR PACKAGES...
  local dir=$1
  shift
  stamped "npm-$dir" "$*" && return 0
  rm -rf "${TEST:?}/npm/$dir" && mkdir -p "$TEST/npm/$dir" && cd "$TEST/npm/$dir" || return 1
  echo '{"private":true}' >package.json
  npm install --no-audit --no-fund --loglevel=error "$@" && echo "$*" >"$STAMPS/npm-$dir"
}

python_package() { # NAME VERSION: in a folder of its own
  local folder=$TEST/venv/$1-$2
  stamped "$1-$2" "$2" && return 0
  rm -rf "$folder"
  python3 -m venv "$folder" && "$folder/bin/pip" install -q "$1==$2" && echo "$2" >"$STAMPS/$1-$2"
}

install_suite() {
  command -v npm >/dev/null || { echo "FAILED: npm is needed (Debian: apt-get install npm)"; return 1; }
  npm_packages node node@24.21.0 || return 1
  export PATH=$NODE:$PATH
  npm_packages suite @modelcontextprotocol/conformance@0.2.0-alpha.12 &&
    npm_packages suite-0.1.16 @modelcontextprotocol/conformance@0.1.16
}

install_clients() {
  local version
  install_suite || return 1
  npm_packages clients @modelcontextprotocol/sdk@1.32.2 @modelcontextprotocol/server-everything@2026.8.31 \
    @modelcontextprotocol/inspector@2.12.0 @anthropic-ai/claude-code@2.1.330 || return 1
  # The second generation of the TypeScript SDK; apart, because the inspector brings one of its own.
  npm_packages eras @modelcontextprotocol/client@2.4.0 @modelcontextprotocol/server@2.4.0 || return 1
  for version in "${PYTHON_SDKS[@]}"; do python_package mcp "$version" || return 1; done
  python_package fastmcp "$FASTMCP"
}
