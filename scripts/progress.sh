# Sourced by the scripts that take minutes: short lines with the seconds since the first one began.

export PROGRESS_STARTED=${PROGRESS_STARTED:-$(date +%s)}

# say MESSAGE...
say() { printf '[%4d s] %s\n' "$(($(date +%s) - PROGRESS_STARTED))" "$*"; }

# die MESSAGE...
die() { printf '%s: error: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# running PID: whether that child goes on. (`kill -0` may not ask about one that runs as root.)
running() { [ -d "/proc/$1" ]; }

# interrupt SIGNAL PID: passes the signal to a child's process group, waits for its end and exits.
# It must be waited for: apt-get, interrupted, first completes the dpkg run that it is in.
interrupt() {
  trap - INT TERM  # a second one ends the waiting
  say "  stopping"
  kill -s "$1" -- "-$2" 2>/dev/null || sudo -n kill -s "$1" -- "-$2" 2>/dev/null ||
    say "  it cannot be stopped from here; waiting for its end"
  while running "$2"; do sleep 0.2; done
  exit 130
}

# watched LOG WHAT COMMAND...: runs the command with its output in LOG, and says its newest line
# every 15 s. If the command fails, prints the end of LOG and returns the command's exit status.
watched() {
  local log=$1 what=$2 pid status=0 ticks=0
  shift 2
  mkdir -p "$(dirname "$log")"
  set -m  # a process group of its own, so that an interrupt ends the command's children too
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  set +m
  trap 'interrupt INT "$pid"' INT
  trap 'interrupt TERM "$pid"' TERM
  while running "$pid"; do
    sleep 0.2
    ticks=$((ticks + 1))
    if ((ticks % 75 == 0)); then
      say "  $what ... $(tail -n 1 "$log" | tr -cd '[:print:]' | cut -c 1-70)"
    fi
  done
  wait "$pid" || status=$?
  trap - INT TERM
  if ((status != 0)); then
    tail -25 "$log" >&2
    printf '%s: error: %s failed with exit status %d; all of its output: %s\n' \
      "${0##*/}" "$what" "$status" "$log" >&2
  fi
  return "$status"
}
