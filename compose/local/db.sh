# Role db: postgres-mcp, which asks for Python 3.12 and for a pglast that no longer exists.
# shellcheck shell=bash

DB_PACKAGES=('postgres-mcp==0.3.0' 'mcp==1.30.0')
DB_OVERRIDES='pglast==8.8'

# A Python of at least 3.12 that really starts (a version manager's stub may not).
find_python312() {
  local candidate
  for candidate in python3.12 python3.13 python3 "$RUN"/python/*/bin/python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python3.12; do
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || continue
    "$candidate" -c 'import sys; print(sys.executable)'
    return 0
  done
  return 1
}

install_db() {
  local python log=$LOGS/install-postgres-mcp.log venv=$RUN/venv/postgres-mcp began site
  stamped postgres-mcp "${DB_PACKAGES[*]} $DB_OVERRIDES" && return 0
  if ! python=$(find_python312); then
    locked uv ensure_uv || skip "needs uv to get Python 3.12"
    say "fetching Python 3.12 with uv"
    if locked python uv "$log" python install 3.12; then
      python=$(find_python312) || python=3.12
    fi
  fi
  if [[ -n $python ]]; then
    python_install postgres-mcp "$python" "$DB_OVERRIDES" "${DB_PACKAGES[@]}"
    return 0
  fi
  # No Python 3.12 to be had. All that postgres-mcp uses of it is typing.override, a marker without
  # effect: give 3.11 that name, and install past the declared version.
  say "no Python 3.12 ($(why "$log")); using $(python3 -V) with typing.override added"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || skip "needs Python 3.11 or newer"
  began=$SECONDS
  python_install postgres-mcp-base python3 "$DB_OVERRIDES" pip 'mcp[cli]==1.30.0' 'attrs>=25.3' 'humanize>=4.8' \
    'instructor>=1.7.9' pglast 'psycopg[binary]>=3.2.6' 'psycopg-pool>=3.2.6'
  rm -rf "$venv" && ln -s postgres-mcp-base "$venv"
  # A .pth file is read when Python starts (a sitecustomize.py of the system would hide ours).
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  cp "$LOCAL/typing_override.py" "$site/"
  echo 'import typing_override' >"$site/typing_override.pth"
  step "$log" "$venv/bin/python" -m pip install -q --no-deps --ignore-requires-python "${DB_PACKAGES[0]}" ||
    skip "postgres-mcp could not be installed: $(why "$log")"
  stamp postgres-mcp "${DB_PACKAGES[*]} $DB_OVERRIDES"
  say "installed postgres-mcp on Python 3.11 ($((SECONDS - began)) s)"
}

start_db() {
  need_role postgres
  # restricted: read-only transactions with a time limit.
  supervise "$DB_PORT" env "DATABASE_URI=postgresql://postgres@127.0.0.1:$PG_PORT/appdb" \
    "$RUN/venv/postgres-mcp/bin/python" "$RUN/venv/postgres-mcp/bin/postgres-mcp" \
    --access-mode=restricted --transport=sse --sse-host=127.0.0.1 --sse-port="$DB_PORT"
}
