#!/bin/bash
# Real clients against the real binary: redis-cli and redis-benchmark as Debian ships them, unmodified.
# Usage: tidegate/tests/clients.sh target/release/tidegate
set -euo pipefail
tidegate=$(realpath "${1:?the path of the tidegate binary}")
work=$(mktemp -d)
pid=
checks=0

cleanup() {
    if [ -n "$pid" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT

# Starts the node on a free port and waits for its ready line: sets pid and port.
start() {
    rm -f "$work/out"
    mkfifo "$work/out"
    "$tidegate" dev --port 0 --dir "$work/data" >"$work/out" 2>>"$work/log" &
    pid=$!
    local line=
    exec 3<"$work/out"
    read -r -t 30 line <&3 || true
    if [[ ! $line =~ ^ready\ resp=127\.0\.0\.1:([0-9]+) ]]; then
        echo "no ready line within 30 s, but: '$line'" >&2
        cat "$work/log" >&2
        return 1
    fi
    port=${BASH_REMATCH[1]}
}

cli() { redis-cli -h 127.0.0.1 -p "$port" "$@"; }

# expect WANTED ARGS..: redis-cli with ARGS answers WANTED.
expect() {
    local wanted=$1 got
    shift
    got=$(cli "$@" 2>&1) || got="$got (redis-cli failed)"
    if [ "$got" != "$wanted" ]; then
        echo "redis-cli $*: expected '$wanted', got '$got'" >&2
        return 1
    fi
    checks=$((checks + 1))
}

start
echo "redis-cli: commands, both protocols, a transaction"
expect PONG PING
expect OK SET greeting hello
expect hello GET greeting
expect hello -3 GET greeting
expect 5 STRLEN greeting
expect 7 INCRBY counter 7
expect OK -n 3 SET elsewhere 1
expect 1 -n 3 DBSIZE
got=$(printf 'MULTI\nSET a 1\nINCR a\nEXEC\n' | cli | tr '\n' ' ')
[ "$got" = "OK QUEUED QUEUED OK 2 " ] || { echo "transaction: got '$got'" >&2; exit 1; }
checks=$((checks + 1))

echo "redis-cli: 10,000 commands in one pipe"
for i in $(seq 10000); do printf 'SET pipe:%d %d\r\n' "$i" "$i"; done >"$work/pipe"
got=$(cli --pipe <"$work/pipe" | tail -n 1)
[ "$got" = "errors: 0, replies: 10000" ] || { echo "--pipe: got '$got'" >&2; exit 1; }
expect 10000 GET pipe:10000
got=$(cli --scan --pattern 'pipe:*' | sort -u | wc -l)
[ "$got" -eq 10000 ] || { echo "--scan: $got keys, expected 10000" >&2; exit 1; }
checks=$((checks + 2))

echo "redis-benchmark: SET, GET, INCR, MSET in pipelines of 1 and 16"
for pipeline in 1 16; do
    lines=$(redis-benchmark -h 127.0.0.1 -p "$port" -t set,get,incr,mset -c 50 -P "$pipeline" -d 100 -r 1000 -n 5000 --csv \
        2>"$work/benchmark" | grep -c '^"\(SET\|GET\|INCR\|MSET\)') || true
    [ "$lines" -eq 4 ] || { echo "redis-benchmark -P $pipeline: $lines of 4 results" >&2; cat "$work/benchmark" >&2; exit 1; }
    checks=$((checks + 1))
done

echo "kill -9 and restart: what was acknowledged is there"
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
start
expect hello GET greeting
expect 10000 GET pipe:10000
expect 1 -n 3 GET elsewhere

echo "SIGTERM: exit 0"
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
pid=
[ "$code" -eq 0 ] || { echo "SIGTERM: exit code $code" >&2; cat "$work/log" >&2; exit 1; }
echo "$((checks + 1)) checks passed"
