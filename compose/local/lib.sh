# Shared by ./run and the files beside this one: messages, stamps, processes. Sourced, bash.
# shellcheck shell=bash

# Who is speaking; every role's job sets its own.
ROLE=run
# Process groups of this (sub)shell's children, ended by end_children.
CHILDREN=()

# A terminal that was closed must not keep us from ending in order.
say() { printf '[%4ds] %-11s %s\n' "$SECONDS" "$ROLE" "$*" 2>/dev/null || true; }
die() { say "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- state of the roles, one small file each: how the jobs tell each other and ./run ---
put_state() { printf '%s\n' "$1" >"$STATE/.$ROLE.new" && mv "$STATE/.$ROLE.new" "$STATE/$ROLE"; }
state_of() { if [[ -r $STATE/$1 ]]; then cat "$STATE/$1"; else echo none; fi; }

# A role that cannot be had on this machine: one line with the reason, the others go on.
skip() {
  say "skipped: $*"
  put_state "skipped"
  printf '%s\n' "$*" >"$STATE/$ROLE.reason"
  end_children
  exit 0
}

# Waits until another role is up; the reason is printed by that role itself.
need_role() {
  while :; do
    case $(state_of "$1") in
      up | installed) return 0 ;;
      skipped) skip "needs $1, which is not to be had" ;;
    esac
    sleep 0.3
  done
}

# --- stamps: written only after success, so an interrupted install is done again ---
stamped() { [[ -r $STAMPS/$1 && $(<"$STAMPS/$1") == "$2" ]]; }
stamp() { printf '%s\n' "$2" >"$STAMPS/$1"; }

# --- processes ---
# Every child gets a process group of its own (so that npm's and the bridges' children end with it)
# and the mark of this run in its environment (so that a later run knows it, and nothing else, as ours).
spawn() { # LOG|- COMMAND...: starts it; its pid, which is its group too, is $SPAWNED
  local log=$1
  shift
  if [[ $log == - ]]; then
    TRUNKLINE_RUN_MARK=$MARK setsid "$@" </dev/null 8>&- 9>&- &
  else
    TRUNKLINE_RUN_MARK=$MARK setsid "$@" >>"$log" 2>&1 </dev/null 8>&- 9>&- &
  fi
  SPAWNED=$!
  CHILDREN+=("$SPAWNED")
}

forget() { # PID: it has ended and was waited for
  local pid kept=()
  for pid in "${CHILDREN[@]}"; do [[ $pid == "$1" ]] || kept+=("$pid"); done
  CHILDREN=("${kept[@]}")
}

step() { # LOG COMMAND...: runs it to its end; its exit code
  local pid rc=0
  spawn "$@"
  pid=$SPAWNED
  wait "$pid" || rc=$?
  forget "$pid"
  return "$rc"
}

end_children() { # asks politely, waits up to 15 s, then insists
  local pid tries
  for pid in "${CHILDREN[@]}"; do
    # The role's own way to stop first (PostgreSQL: fast shutdown), else SIGTERM to the group.
    if [[ -n ${STOP_SIGNAL:-} ]]; then
      kill -s "$STOP_SIGNAL" "$pid" 2>/dev/null || true
    else
      kill -TERM -- "-$pid" 2>/dev/null || true
    fi
  done
  for pid in "${CHILDREN[@]}"; do
    for ((tries = 0; tries < 150; tries++)); do
      kill -0 -- "-$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL -- "-$pid" 2>/dev/null || true
  done
  CHILDREN=()
}

# Pids whose environment carries the mark $1 (a prefix of it is enough).
marked() {
  local environ pid
  for environ in /proc/[0-9]*/environ; do
    pid=${environ#/proc/}
    if grep -qaF "TRUNKLINE_RUN_MARK=$1" "$environ" 2>/dev/null; then echo "${pid%/environ}"; fi
  done
}

# What an earlier ./run with this state folder left behind when it was killed hard.
# (PostgreSQL understands SIGINT as "stop fast"; node and python just end.)
end_leftovers() { # MARK WORDS
  local pids tries
  mapfile -t pids < <(marked "$1")
  ((${#pids[@]})) || return 0
  [[ -z $2 ]] || say "$2: ${pids[*]}"
  kill -TERM "${pids[@]}" 2>/dev/null || true
  sleep 0.5
  for ((tries = 0; tries < 50; tries++)); do
    mapfile -t pids < <(marked "$1")
    ((${#pids[@]})) || return 0
    kill -INT "${pids[@]}" 2>/dev/null || true
    sleep 0.2
  done
  kill -KILL "${pids[@]}" 2>/dev/null || true
}

# --- ports ---
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

port_holder() { # PORT: "name (pid N)" as far as it can be known
  local line
  line=$(ss -Hltnp "sport = :$1" 2>/dev/null | head -n 1) || true
  if [[ $line =~ \(\(\"([^\"]+)\",pid=([0-9]+) ]]; then
    echo "${BASH_REMATCH[1]} (pid ${BASH_REMATCH[2]})"
  else
    echo "another process"
  fi
}

last_line() { # LOG: its last line with something on it
  local line
  line=$(tail -n 20 "$1" 2>/dev/null | tr -d '\r' | grep -v '^[[:space:]]*$' | tail -n 1 | cut -c 1-200) || true
  printf '%s' "${line:-(nothing in its log)}"
}

why() { # LOG: the line of it that most likely says why it failed
  { grep -aiE 'npm error|^error|cause:|E: |: error' "$1" 2>/dev/null | grep -avE 'npm error (code|errno|A complete log)' |
    tail -n 1 | sed 's/^ *//' | cut -c 1-200; } || true
}

# Runs a server for ever: says when it listens, says in one line when it dies, starts it again with
# a growing pause. After ten deaths in a row without a minute's life it is given up.
supervise() { # PORT COMMAND...
  local port=$1 pause=1 deaths=0 began rc pid log=$LOGS/$ROLE.log
  shift
  while :; do
    if port_open "$port"; then
      skip "port $port is in use by $(port_holder "$port"); end it and start ./run again, or move all upstreams with TRUNKLINE_PORT_OFFSET=100"
    fi
    began=$SECONDS
    spawn "$log" "$@"
    pid=$SPAWNED
    while kill -0 "$pid" 2>/dev/null && ! port_open "$port"; do sleep 0.2; done
    if kill -0 "$pid" 2>/dev/null; then
      say "listens on 127.0.0.1:$port ($((SECONDS - began)) s)"
      if after_listen; then put_state up; else say "set-up failed: $(last_line "$LOGS/$ROLE-setup.log")"; fi
    fi
    rc=0
    # (bash would add a message of its own when a signal ended it)
    { wait "$pid"; } 2>/dev/null || rc=$?
    # Its group may outlive it: what is left of it would hold the port.
    end_children
    # $$ is ./run itself. It was killed hard: nobody would ever end what is started from here on.
    kill -0 "$$" 2>/dev/null || exit 0
    put_state down
    if ((SECONDS - began >= 60)); then pause=1 deaths=0; fi
    deaths=$((deaths + 1))
    if ((deaths >= 10)); then
      skip "ended $deaths times in a row, given up; last line: $(last_line "$log") (log: $log)"
    fi
    say "ended with exit code $rc; last line: $(last_line "$log"); starting it again in $pause s"
    sleep "$pause" &
    wait $! || true
    pause=$((pause * 2 > 30 ? 30 : pause * 2))
  done
}
after_listen() { :; }
