#!/bin/bash
# Clients that route by themselves against a real cluster, unmodified: redis-cli -c, redis-py's RedisCluster and ioredis'
# Cluster read and write while a leader is killed with no warning and comes back. What was acknowledged must be there.
# Usage: tidegate/tests/clients/cluster.sh target/release/tidegate
set -euo pipefail
tidegate=$(realpath "${1:?the path of the tidegate binary}")
cd "$(dirname "$0")/../../.."
work=$(mktemp -d)
local_pid=
restarted=

cleanup() {
    for pid in $local_pid $restarted; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap cleanup EXIT

fail() {
    echo "$*" >&2
    tail -n 5 "$work"/*.out "$work"/cluster/node-*/log >&2 || true
    exit 1
}

# await FILE PATTERN: until a line of the file matches, for at most 30 s.
await() {
    # grep ends first, and tail by its pipe.
    (set +o pipefail && timeout 30 tail -n +1 -F "$1" 2>/dev/null | grep -q -m 1 "$2") || fail "no '$2' in $1 within 30 s"
}

# Node i listens at base + 10i and the ports behind; a port of the range may be taken.
for base in $(shuf -i 20000-32000 -n 10); do
    rm -rf "$work/cluster"
    "$tidegate" local --port "$base" --dir "$work/cluster" >"$work/local.out" 2>&1 &
    local_pid=$!
    await "$work/local.out" '^ready \|has ended'
    if grep -q '^ready ' "$work/local.out"; then break; fi
    kill "$local_pid"
    wait "$local_pid" || true
done
ports=$(sed -n 's/^ready .*cluster=\([^ ]*\).*/\1/p' "$work/local.out" | tr ',' '\n' | cut -d: -f2)
[ -n "$ports" ] || fail "no cluster was started"
first=${ports%%$'\n'*}

echo "redis-cli -c: follows from any node, and transactions of one slot"
for at in $ports; do
    for n in $(seq 20); do
        [ "$(redis-cli -c -p "$at" SET "cli:$n" "$at")" = OK ] || fail "redis-cli -c -p $at SET cli:$n"
        [ "$(redis-cli -c -p "$first" GET "cli:$n")" = "$at" ] || fail "redis-cli -c -p $first GET cli:$n"
    done
done
got=$(printf 'GET {t}x\nMULTI\nSET {t}a 1\nINCR {t}a\nEXEC\n' | redis-cli -c -p "$first" | grep -v '^Redirected' | tr '\n' ' ')
[[ "$got" == *"OK QUEUED QUEUED OK 2 " ]] || fail "a transaction by redis-cli -c: '$got'"
redis-cli --cluster call "127.0.0.1:$first" FLUSHALL >"$work/call.out" || fail "redis-cli --cluster call"
redis-cli --cluster check "127.0.0.1:$first" >"$work/check.out" 2>&1 || fail "$(cat "$work/check.out")"
grep -q 'All 16384 slots covered' "$work/check.out" || fail "$(cat "$work/check.out")"

echo "redis-py and ioredis: both write while a leader is killed and comes back"
mkfifo "$work/py.in" "$work/io.in"
# shellcheck disable=SC2086
target/clients/venv/bin/python tidegate/tests/clients/cluster_redis_py.py $ports <"$work/py.in" >"$work/py.out" 2>&1 &
py=$!
exec 5>"$work/py.in"
await "$work/py.out" '^started'
# shellcheck disable=SC2086
node tidegate/tests/clients/cluster_ioredis.mjs target/clients/node $ports <"$work/io.in" >"$work/io.out" 2>&1 5>&- &
io=$!
exec 6>"$work/io.in"
await "$work/io.out" '^started'
for node in 1 2; do
    sleep 2
    victim=$(cat "$work/cluster/node-$node/pid")
    redis-cli -p "$(sed -n "${node}p" <<<"$ports")" CLUSTER NODES | grep 'myself,master .* connected [0-9]' >/dev/null || fail "node-$node leads nothing"
    kill -KILL "$victim"
    sleep 3
    "$tidegate" server --config "$work/cluster/node-$node/node.toml" >"$work/node-$node.out" 2>>"$work/cluster/node-$node/log" 5>&- 6>&- &
    restarted="$restarted $!"
    await "$work/node-$node.out" '^ready '
done
sleep 3
exec 5>&- 6>&-
wait "$py" || fail "redis-py"
wait "$io" || fail "ioredis"
tail -q -n 1 "$work/py.out" "$work/io.out"
