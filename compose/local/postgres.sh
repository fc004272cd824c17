# Role postgres: a PostgreSQL cluster of our own for db, timescale and automation.
# shellcheck shell=bash

# SIGINT means "fast" to PostgreSQL: it ends its sessions and stops.
pg_stop_signal=INT

# The folder with the server's programs, of major version $1 if that is given.
find_postgres() {
  local dir
  for dir in $(printf '%s\n' "/usr/lib/postgresql/"*/bin | sort -rV) "$(dirname "$(command -v initdb || echo /)")"; do
    [[ -x $dir/initdb && -x $dir/postgres && -x $dir/psql ]] || continue
    [[ -z ${1:-} || $("$dir/postgres" --version) =~ \ $1[.\ ] ]] || continue
    echo "$dir"
    return 0
  done
  return 1
}

install_postgres() {
  PG_BIN=$(find_postgres) && return 0
  # Debian's package makes a cluster on port 5432 and starts it unless it is told not to.
  # Ours is separate, so leave the machine without it (only if the package was never here).
  if ((EUID == 0)) && [[ ! -e /etc/postgresql-common ]]; then
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/trunkline.conf
  fi
  apt_install postgresql || skip "no PostgreSQL on this machine"
  PG_BIN=$(find_postgres) || skip "apt-get installed postgresql, but initdb, postgres and psql were not found"
}

# PostgreSQL refuses to run as root: AS_PG is the prefix that makes it another user.
# PG_HOME is a folder that user can reach; inside the state folder when that is possible.
place_postgres() {
  AS_PG=()
  PG_HOME=$RUN/postgres
  mkdir -p "$PG_HOME"
  ((EUID == 0)) || { chmod 700 "$PG_HOME"; return 0; }
  local user=postgres
  if ! id postgres >/dev/null 2>&1; then
    user=trunkline-pg
    id "$user" >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin "$user" ||
      skip "PostgreSQL refuses to run as root, and the user $user could not be made"
  fi
  AS_PG=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --init-groups)
  chown "$user" "$PG_HOME"
  chmod 700 "$PG_HOME"
  if ! "${AS_PG[@]}" test -w "$PG_HOME/."; then
    # For example a checkout below /root. The name is made from the path, so the next run finds it
    # again; somebody else's folder of that name (anybody can make one there) is not used.
    PG_HOME=/var/tmp/trunkline-postgres-$(printf %s "$RUN" | sha256sum | cut -c 1-12)
    mkdir -m 700 "$PG_HOME" 2>/dev/null && chown "$user" "$PG_HOME"
    [[ ! -L $PG_HOME && $(stat -c %U "$PG_HOME" 2>/dev/null) == "$user" ]] && "${AS_PG[@]}" test -w "$PG_HOME/." ||
      skip "the user $user can write neither to $RUN nor to $PG_HOME"
  fi
  AS_PG+=(env -C "$PG_HOME")
}

psql_in() { # DATABASE ARGS...: -X ignores the user's own psqlrc
  step "$LOGS/postgres-setup.log" "${AS_PG[@]}" "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PG_PORT" -U postgres -d "$@"
}

# The databases. One without its stamp was only half made, and is made anew.
make_databases() {
  local db file timescale_sql tries
  # The port opens a little before the server lets anybody in.
  for ((tries = 0; tries < 50; tries++)); do
    psql_in postgres -c 'select 1' && break
    sleep 0.2
  done
  for db in appdb tsdb n8n; do
    stamped "database-$db" 1 && continue
    psql_in postgres -c "drop database if exists $db" && psql_in postgres -c "create database $db" || return 1
    timescale_sql=tsdb-shim.sql
    ((PG_HAS_TIMESCALE)) && timescale_sql=tsdb-real.sql
    case $db in
      appdb) set -- appdb.sql ;;
      tsdb) set -- tsdb.sql "$timescale_sql" ;;
      n8n) set -- ;;
    esac
    for file in "$@"; do
      # Read here and piped: the cluster's user may not be able to reach this repository.
      psql_in "$db" -c "$(<"$LOCAL/$file")" || return 1
    done
    stamp "database-$db" 1
  done
}

start_postgres() {
  local data share opts=()
  STOP_SIGNAL=$pg_stop_signal
  place_postgres
  data=$PG_HOME/data
  if [[ ! -s $data/PG_VERSION ]]; then
    rm -rf "$data"
    rm -f "$STAMPS"/database-*
    step "$LOGS/postgres-setup.log" "${AS_PG[@]}" "$PG_BIN/initdb" -D "$data" -U postgres --auth=trust -E UTF8 --no-locale ||
      { rm -rf "$data"; skip "initdb failed: $(last_line "$LOGS/postgres-setup.log")"; }
  fi
  local major
  major=$(<"$data/PG_VERSION")
  PG_BIN=$(find_postgres "$major") ||
    skip "the cluster in $data is of PostgreSQL $major, which is not installed (install it, or remove that folder to start anew)"
  # The real extension when this server has it; it must be loaded when the server starts.
  PG_HAS_TIMESCALE=0
  share=${PG_BIN%/bin}
  if [[ -e ${share/\/lib\//\/share\/}/extension/timescaledb.control ]]; then
    PG_HAS_TIMESCALE=1
    opts+=(-c shared_preload_libraries=timescaledb -c timescaledb.telemetry_level=off)
  fi
  after_listen() {
    make_databases
  }
  supervise "$PG_PORT" "${AS_PG[@]}" "$PG_BIN/postgres" -D "$data" -p "$PG_PORT" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=64MB "${opts[@]}"
}
