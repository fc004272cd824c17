# Programs that the installs need: apt packages, uv, a newer node, npm and Python packages.
# shellcheck shell=bash disable=SC2153

UV_VERSION=0.13.9
NODE_VERSION=24.21.0

# One job at a time inside (8 is the lock's file descriptor, closed again for every child).
locked() { # NAME COMMAND...
  local name=$1 rc=0
  shift
  exec 8>"$RUN/locks/$name"
  # Polled, since a blocking flock would hold back the answer to Ctrl-C.
  until flock -n 8; do sleep 0.2; done
  "$@" || rc=$?
  exec 8>&-
  return "$rc"
}

# apt-get as root, or with a sudo that asks for nothing; else a line with what the user can do.
apt_install() { # PACKAGE
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300) log=$LOGS/install-$1.log
  if ! have apt-get; then
    say "cannot install $1: no apt-get on this machine; install it by hand"
    return 1
  fi
  if ((EUID != 0)); then
    if have sudo && sudo -n true 2>/dev/null; then
      apt=(sudo -n "${apt[@]}")
    else
      say "cannot install $1 without root rights; run: sudo apt-get install $1"
      return 1
    fi
  fi
  say "installing $1 with apt-get"
  # The package lists of a fresh machine are empty or old: refresh them only when the first try fails.
  locked apt step "$log" "${apt[@]}" install --no-install-recommends "$1" ||
    { locked apt step "$log" "${apt[@]}" update &&
      locked apt step "$log" "${apt[@]}" install --no-install-recommends "$1"; } ||
    { say "apt-get could not install $1: $(why "$log")"; return 1; }
}

# --- Python ---
uv() { step "$1" env UV_PYTHON_INSTALL_DIR="$RUN/python" UV_HTTP_RETRIES=1 "$RUN/uv/bin/uv" "${@:2}"; }

ensure_uv() {
  stamped uv "$UV_VERSION" && [[ -x $RUN/uv/bin/uv ]] && return 0
  local log=$LOGS/install-uv.log
  have python3 || apt_install python3-venv || return 1
  # Debian's python3 comes without the part that makes environments.
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv || return 1
  step "$log" python3 -m venv --clear "$RUN/uv" &&
    step "$log" "$RUN/uv/bin/python" -m pip install --disable-pip-version-check -q "uv==$UV_VERSION" ||
    { say "uv could not be installed: $(why "$log")"; return 1; }
  stamp uv "$UV_VERSION"
}

# A virtual environment $RUN/venv/NAME with these packages, in exactly these versions.
python_install() { # NAME PYTHON OVERRIDES PACKAGE...
  local name=$1 python=$2 overrides=$3 log=$LOGS/install-$1.log venv=$RUN/venv/$1 began=$SECONDS
  shift 3
  local wanted="$* $overrides"
  stamped "$name" "$wanted" && [[ -x $venv/bin/python ]] && return 0
  locked uv ensure_uv || skip "needs uv"
  printf '%s\n' "$overrides" >"$RUN/venv/$name.overrides"
  say "installing $*"
  uv "$log" venv -q --clear -p "$python" "$venv" &&
    uv "$log" pip install -q -p "$venv/bin/python" --override "$RUN/venv/$name.overrides" "$@" ||
    skip "$name could not be installed: $(why "$log") (log: $log)"
  stamp "$name" "$wanted"
  say "installed $name ($((SECONDS - began)) s)"
}

# --- node ---
# Packages in a folder of their own. Install scripts are never run: none of these needs one.
npm_install() { # NAME PACKAGE...
  local name=$1 log=$LOGS/install-$1.log dir=$RUN/npm/$1 began=$SECONDS
  shift
  stamped "$name" "$*" && [[ -d $dir/node_modules ]] && return 0
  have npm || skip "$1 needs node and npm (version 20 or newer), which are not installed"
  mkdir -p "$dir"
  echo '{"private":true}' >"$dir/package.json"
  say "installing $*"
  # shellcheck disable=SC2086 # NICE is a command with its arguments, or empty
  step "$log" ${NICE:-} npm install --prefix "$dir" --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error "$@" ||
    skip "$name could not be installed: $(why "$log") (log: $log)"
  stamp "$name" "$*"
  say "installed $name ($((SECONDS - began)) s)"
}

# A node of at least version 24: the machine's own, else npm's package of it. Its folder: $NODE24.
ensure_node24() {
  local arch major
  major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
  if ((major >= 24)); then
    NODE24=$(dirname "$(command -v node)")
    return 0
  fi
  case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) skip "needs node 24, and npm has none for $(uname -m)" ;;
  esac
  npm_install node24 "node-linux-$arch@$NODE_VERSION"
  NODE24=$RUN/npm/node24/node_modules/node-linux-$arch/bin
}

# supergateway: makes an HTTP server out of a stdio server. Two roles share it.
ensure_supergateway() { locked supergateway npm_install supergateway supergateway@4.0.0; }

# The command line of supergateway is one string for a shell: quote its words.
shell_words() { printf '%q ' "$@"; }

# Environment for node servers that would listen on every interface.
loopback_only() { printf 'NODE_OPTIONS=--require "%s"' "$LOCAL/loopback.cjs"; }
