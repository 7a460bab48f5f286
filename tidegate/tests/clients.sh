#!/bin/bash
# Real clients against the real binary, unmodified: redis-cli and redis-benchmark as Debian ships them, redis-py,
# node-redis, ioredis and pymemcache, a cluster of three nodes among what they meet; then random commands beside redis-server. What they need is installed first; what can't be installed makes the script fail.
# Usage: tidegate/tests/clients.sh target/release/tidegate
set -euo pipefail
tidegate=$(realpath "${1:?the path of the tidegate binary}")
cd "$(dirname "$0")/../.."
tidegate/tests/clients/install.sh
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
    "$tidegate" dev --port 0 --memcached-port 0 --dir "$work/data" >"$work/out" 2>>"$work/log" &
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
    [[ $line =~ memcached=127\.0\.0\.1:([0-9]+) ]]
    memcached=${BASH_REMATCH[1]}
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

# same NAME WANTED GOT
same() {
    if [ "$2" != "$3" ]; then
        echo "$1: expected '$2', got '$3'" >&2
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
same transaction "OK QUEUED QUEUED OK 2 " "$got"

echo "inline commands, as typed into a bare connection"
got=$(exec 4<>"/dev/tcp/127.0.0.1/$port" && printf 'SET inline "a b"\r\nGET inline\nQUIT\r\n' >&4 && timeout 30 cat <&4)
same inline $'+OK\r\n$3\r\na b\r\n+OK\r' "$got"

echo "redis-cli: 10,000 commands in one pipe"
for i in $(seq 10000); do printf 'SET pipe:%d %d\r\n' "$i" "$i"; done >"$work/pipe"
got=$(cli --pipe <"$work/pipe" | tail -n 1)
same --pipe "errors: 0, replies: 10000" "$got"
expect 10000 GET pipe:10000
got=$(cli --scan --pattern 'pipe:*' | sort -u | wc -l)
same --scan 10000 "$got"

echo "redis-cli: --bigkeys, --stat, --csv"
cli SETRANGE big 99999 x >/dev/null
got=$(cli --bigkeys | grep -c '^Biggest string found .*"big".* has 100000 bytes') || true
same --bigkeys 1 "$got"
# --stat runs until its pipe is closed, a line each 0.1 s: the heading's two, then figures, first the keys of all databases.
got=$({ timeout 30 stdbuf -oL redis-cli -p "$port" --stat -i 0.1 || true; } | head -n 3 | tail -n 1 | awk '{ print $1 }')
same --stat $(($(cli DBSIZE) + $(cli -n 3 DBSIZE))) "$got"
same --csv '"hello",NULL,"7"' "$(cli --csv MGET greeting none counter)"

echo "redis-benchmark: SET, GET, INCR, MSET, PING in pipelines of 1 and 16"
for pipeline in 1 16; do
    got=$(redis-benchmark -h 127.0.0.1 -p "$port" -t set,get,incr,mset,ping -c 50 -P "$pipeline" -d 100 -r 1000 -n 5000 -q \
        2>"$work/benchmark" | tr '\r' '\n' | grep -c '^[A-Z_]*\( (10 keys)\)\?: [0-9.]* requests per second') || true
    if [ "$got" -ne 6 ]; then cat "$work/benchmark" >&2; fi
    same "redis-benchmark -P $pipeline" 6 "$got"
done

echo "kill -9 and restart: what was acknowledged is there"
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
start
expect hello GET greeting
expect 10000 GET pipe:10000
expect 1 -n 3 GET elsewhere

echo "redis-py and node-redis: RESP2 and RESP3, pipelines, transactions, pools"
target/clients/venv/bin/python tidegate/tests/clients/redis_py.py "$port"
node tidegate/tests/clients/node_redis.mjs "$port" target/clients/node
checks=$((checks + 2))

echo "pymemcache: text commands, flags, cas, many keys, beside redis-py"
target/clients/venv/bin/python tidegate/tests/clients/pymemcache_check.py "$memcached" "$port"
checks=$((checks + 1))

echo "random commands: the replies are redis-server's, byte by byte"
python3 tidegate/tests/clients/differential.py "$port" --seconds 20
checks=$((checks + 1))

tidegate/tests/clients/cluster.sh "$tidegate"
checks=$((checks + 3))

echo "SIGTERM: exit 0"
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
pid=
[ "$code" -eq 0 ] || { echo "SIGTERM: exit code $code" >&2; cat "$work/log" >&2; exit 1; }
echo "$((checks + 1)) checks passed"
