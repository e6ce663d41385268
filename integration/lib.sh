# Shared by the scripts of this folder: source it. Nodes run on free loopback ports, in folders below .work/, and are
# ended by their own process ids when the script ends.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
WORK="${PERIGEE_WORK:-$ROOT/.work}"
PERIGEE_BIN="${PERIGEE_BIN:-$ROOT/target/release/perigee}"
PIDS=()
FOLDERS=()
# Settings of whoever runs this are not the test's.
unset PGHOST PGPORT PGUSER PGDATABASE PGPASSWORD PGOPTIONS PGSERVICE 2>/dev/null || true

mkdir -p "$WORK"
[ -x "$PERIGEE_BIN" ] || { echo "there is no $PERIGEE_BIN: run make build, or set PERIGEE_BIN" >&2; exit 1; }

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# Ends what was started here, and removes its folders unless something failed.
cleanup() {
    local status=$? pid
    for pid in "${PIDS[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    for pid in "${PIDS[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [ "$status" -eq 0 ]; then
        [ "${#FOLDERS[@]}" -eq 0 ] || rm -rf -- "${FOLDERS[@]}"
    elif [ "${#FOLDERS[@]}" -gt 0 ]; then
        echo "kept for a look: ${FOLDERS[*]}" >&2
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# folder NAME: a new folder below .work, removed at the end. Sets FOLDER.
folder() {
    FOLDER="$(mktemp -d "$WORK/$1.XXXXXX")"
    FOLDERS+=("$FOLDER")
}

# free_port: a loopback port that nobody listens on.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start DIR [FLAGS...]: a node on DIR. Sets PID, PORT and OPS; keeps the ports over restarts. It opens a Redis door when REDIS
# says where (HOST:PORT), and a REST or gRPC door when REST or GRPC does.
start() {
    local dir="$1"
    shift
    PORT="${PORT:-$(free_port)}"
    OPS="${OPS:-$(free_port)}"
    "$PERIGEE_BIN" node --data-dir "$dir" --pg-address "127.0.0.1:$PORT" --redis-address "${REDIS:-off}" \
        --rest-address "${REST:-off}" --grpc-address "${GRPC:-off}" --ops-address "127.0.0.1:$OPS" "$@" \
        >>"$dir.log" 2>&1 &
    PID=$!
    PIDS+=("$PID")
    wait_ready "$dir"
}

wait_ready() {
    local tries=0
    until ready; do
        kill -0 "$PID" 2>/dev/null || { tail -n 30 "$1.log" >&2; fail "perigee ended while it started"; }
        tries=$((tries + 1))
        [ "$tries" -lt 6000 ] || fail "perigee is not ready after 10 minutes"
        sleep 0.1
    done
}

ready() {
    python3 - "$OPS" <<'PY' 2>/dev/null
import sys, urllib.request
sys.exit(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/ready", timeout=5).status != 200)
PY
}

# stop: SIGTERM, and wait; a bad end fails.
stop() {
    kill -TERM "$PID"
    wait "$PID" || fail "perigee ended with $?"
    forget "$PID"
}

# crash: kill -9.
crash() {
    kill -9 "$PID"
    wait "$PID" 2>/dev/null || true
    forget "$PID"
}

forget() {
    local kept=() pid
    for pid in "${PIDS[@]}"; do [ "$pid" = "$1" ] || kept+=("$pid"); done
    PIDS=("${kept[@]+"${kept[@]}"}")
}

# sql STATEMENT: on $PORT; rows without decoration.
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PORT" -U postgres -d postgres -c "$1"; }

# resident PID: resident memory in MB.
resident() { awk '/^VmRSS:/ { print int($2 / 1024) }' "/proc/$1/status"; }

# venv PACKAGES...: Python packages in .work/venv. Sets PYTHON.
venv() {
    PYTHON="$WORK/venv/bin/python"
    [ -x "$PYTHON" ] || python3 -m venv "$WORK/venv"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check "$@"
}

# as_postgres COMMAND: PostgreSQL refuses to run as root.
as_postgres() { if [ "$(id -u)" -eq 0 ]; then su postgres -s /bin/bash -c "$*"; else bash -c "$*"; fi; }

# start_postgres: Debian's PostgreSQL with a cluster of its own, as a server is set up: fsync on. Sets PID and PORT.
start_postgres() {
    local bin cluster
    bin="$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)"
    # Outside of .work, whose parents the postgres user may not be allowed to enter.
    cluster="$(mktemp -d)"
    FOLDERS+=("$cluster")
    chmod 755 "$cluster"
    mkdir "$cluster/run"
    if [ "$(id -u)" -eq 0 ]; then chown -R postgres "$cluster"; fi
    PORT="$(free_port)"
    as_postgres "'$bin/initdb' -D '$cluster/data' -A trust -U postgres -E UTF8 --locale=C >/dev/null"
    as_postgres "exec '$bin/postgres' -D '$cluster/data' -p $PORT -k '$cluster/run' -c listen_addresses=127.0.0.1 \
        -c fsync=on -c synchronous_commit=on -c shared_buffers=1GB -c max_wal_size=4GB -c wal_compression=off" \
        >"$cluster/log" 2>&1 &
    until psql -X -q -h 127.0.0.1 -p "$PORT" -U postgres -c 'SELECT 1' postgres >/dev/null 2>&1; do sleep 0.2; done
    PID="$(head -n 1 "$cluster/data/postmaster.pid")"
    PIDS+=("$PID")
}

# stop_postgres: ends it.
stop_postgres() {
    kill -INT "$PID"
    while kill -0 "$PID" 2>/dev/null; do sleep 0.1; done
    forget "$PID"
}
