# Helpers of the etcdctl script: assertions that compare text, and a cluster of throw-away members.
#
# What it is not: a test framework. A case is a bash function call that runs one command and compares
# what it printed. Nothing here sleeps for a fixed time where something can be polled.
#
# Read next: cases/*.sh, in the order of `run`.
# shellcheck shell=bash

n_passed=0
n_failed=0
n_skipped=0
waiting_s="${WAITING_S:-15}" # how long something that must come true may take

say() { printf '%s\n' "$*"; }
section() { printf '\n== %s\n' "$*"; }

pass() {
    n_passed=$((n_passed + 1))
    if [ -n "${VERBOSE:-}" ]; then printf 'ok    %s\n' "$1"; fi
}

# fail NAME WANTED GOT
fail() {
    n_failed=$((n_failed + 1))
    printf 'FAIL  %s\n--- wanted\n%s\n--- got\n%s\n---\n' "$1" "$2" "$3"
}

# skip NAME WHY: said aloud, never silent.
skip() {
    n_skipped=$((n_skipped + 1))
    printf 'skip  %s: %s\n' "$1" "$2"
}

# Drops the client library's own log lines; they carry times and addresses.
without_logs() { grep -av '^{"level":' || true; }

# ctl ARGS...: etcdctl on all members.
ctl() { ETCDCTL_API=3 "$ETCDCTL" --endpoints="$ENDPOINTS" --command-timeout=10s "$@"; }

# ctl_at ENDPOINT ARGS...: etcdctl on one member.
ctl_at() {
    local at="$1"
    shift
    ETCDCTL_API=3 "$ETCDCTL" --endpoints="$at" --command-timeout=10s "$@"
}

# out CMD...: sets $output to what the command printed (both streams, no client logs) and $code.
out() {
    output="$("$@" 2>&1 < /dev/null)"
    code=$?
    output="$(printf '%s\n' "$output" | without_logs)"
}

# same NAME WANTED CMD...: succeeds and prints exactly WANTED.
same() {
    local name="$1" wanted="$2"
    shift 2
    out "$@"
    if [ "$code" -eq 0 ] && [ "$output" = "$wanted" ]; then pass "$name"; else fail "$name" "$wanted" "$output (exit $code)"; fi
}

# refused NAME WANTED CMD...: fails and prints exactly WANTED.
refused() {
    local name="$1" wanted="$2"
    shift 2
    out "$@"
    if [ "$code" -ne 0 ] && [ "$output" = "$wanted" ]; then pass "$name"; else fail "$name" "$wanted (exit not 0)" "$output (exit $code)"; fi
}

# refused_like NAME REGEX CMD...: fails and what it prints matches.
refused_like() {
    local name="$1" wanted="$2"
    shift 2
    out "$@"
    if [ "$code" -ne 0 ] && [[ "$output" =~ $wanted ]]; then pass "$name"; else fail "$name" "/$wanted/ (exit not 0)" "$output (exit $code)"; fi
}

# like NAME REGEX CMD...: succeeds and what it prints matches (bash ERE over the whole text).
like() {
    local name="$1" wanted="$2"
    shift 2
    out "$@"
    if [ "$code" -eq 0 ] && [[ "$output" =~ $wanted ]]; then pass "$name"; else fail "$name" "/$wanted/" "$output (exit $code)"; fi
}

# equal NAME WANTED GOT: two texts.
equal() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "$2" "$3"; fi; }

# matches NAME REGEX GOT: one text.
matches() { if [[ "$3" =~ $2 ]]; then pass "$1"; else fail "$1" "/$2/" "$3"; fi; }

# holds NAME CMD...: the command succeeds.
holds() {
    local name="$1"
    shift
    if "$@"; then pass "$name"; else fail "$name" "success of: $*" "failure"; fi
}

# eventually NAME WANTED CMD...: within $waiting_s the command prints exactly WANTED.
eventually() {
    local name="$1" wanted="$2" until=$((SECONDS + waiting_s))
    shift 2
    while :; do
        out "$@"
        if [ "$output" = "$wanted" ]; then pass "$name"; return 0; fi
        if [ "$SECONDS" -ge "$until" ]; then fail "$name" "$wanted" "$output (exit $code, after ${waiting_s}s)"; return 1; fi
        sleep 0.05
    done
}

# until_true CMD...: polls; false after $waiting_s.
until_true() {
    local until=$((SECONDS + waiting_s))
    until "$@" > /dev/null 2>&1; do
        if [ "$SECONDS" -ge "$until" ]; then return 1; fi
        sleep 0.05
    done
}

file_has() { grep -q -- "$2" "$1"; }

# field NAME: from `-w fields` output on standard input, e.g. `"Revision" : 7`.
field() { sed -n "s/^\"$1\" : //p" | head -n 1 | tr -d '"'; }

server_version() { ctl endpoint status | head -n 1 | cut -d, -f3 | tr -d ' '; }
revision() { ctl get no-such-key -w fields | field Revision; }

# --- members that this script starts ------------------------------------------------------------

scratch=""
declare -a started_pids=()
stop_all() {
    local pid
    for pid in "${started_pids[@]:-}"; do [ -n "$pid" ] && kill -9 "$pid" 2> /dev/null; done
    for pid in "${started_pids[@]:-}"; do [ -n "$pid" ] && wait "$pid" 2> /dev/null; done
    [ -n "$scratch" ] && rm -rf "$scratch"
}

port_is_taken() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# Ports below the range that the kernel hands out to connections, so that none is taken meanwhile.
next_port=$((20000 + ($$ * 7 + RANDOM) % 11000))
free_port() {
    next_port=$((next_port + 1))
    while port_is_taken "$next_port"; do next_port=$((next_port + 1)); done
    port="$next_port"
}

# start_member NAME CLIENT_PORT PEER_PORT INITIAL_CLUSTER STATE
start_member() {
    local name="$1" client="http://127.0.0.1:$2" peer="http://127.0.0.1:$3"
    "$SERVER_BIN" --name "$name" --data-dir "$scratch/$name" \
        --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
        --initial-cluster "$4" --initial-cluster-state "$5" --initial-cluster-token etcdctl-script \
        > "$scratch/$name.log" 2>&1 < /dev/null &
    started_pid=$!
    started_pids+=("$started_pid")
}

# Three members on loopback; sets ENDPOINTS.
start_cluster() {
    local i clients=() peers=() initial=""
    for i in 1 2 3; do
        free_port; clients+=("$port")
        free_port; peers+=("$port")
        initial="$initial${initial:+,}n$i=http://127.0.0.1:$port"
    done
    for i in 1 2 3; do start_member "n$i" "${clients[$((i - 1))]}" "${peers[$((i - 1))]}" "$initial" new; done
    ENDPOINTS="http://127.0.0.1:${clients[0]},http://127.0.0.1:${clients[1]},http://127.0.0.1:${clients[2]}"
    if ! until_true ctl endpoint health; then
        say "the cluster does not serve; the members' last words:"
        tail -n 20 "$scratch"/*.log
        exit 2
    fi
}

# --- commands that run beside the script ---------------------------------------------------------

declare -a background_pids=()

# background FILE CMD...: starts a command that goes on; its output grows in $scratch/FILE. Sets $beside.
background() {
    local file="$scratch/$1"
    shift
    # A plain `&` would make an interrupt be ignored, and `lock` and `elect` are ended by one.
    set -m
    ETCDCTL_API=3 "$ETCDCTL" --endpoints="$ENDPOINTS" "$@" > "$file" 2>&1 < /dev/null &
    beside=$!
    set +m
    background_pids+=("$beside")
}

shown() { without_logs < "$scratch/$1"; }

# interrupt PID: as Ctrl-C does, and waits for the end.
interrupt() {
    kill -INT "$1" 2> /dev/null
    wait "$1" 2> /dev/null
}

stop_background() {
    local pid
    for pid in "${background_pids[@]:-}"; do [ -n "$pid" ] && interrupt "$pid"; done
    background_pids=()
}
