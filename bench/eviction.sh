#!/bin/bash
# Hit rates of a cache that is too small, Tidegate beside redis-server: ACCESSES (400000) reads of KEYS (300000) keys, the
# n-th as often as 1/n, each filled with 1,000 bytes when it is missed, under LIMIT (64mb), by policy; the same trace for both.
# Environment: ACCESSES, KEYS, LIMIT, POLICIES, TIDEGATE (target/release/tidegate). BENCHMARKS.md says how to read the table.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
ACCESSES=${ACCESSES:-400000}
KEYS=${KEYS:-300000}
LIMIT=${LIMIT:-64mb}
POLICIES=${POLICIES:-allkeys-lru allkeys-lfu allkeys-random volatile-lru volatile-lfu volatile-random volatile-ttl}
need redis-server redis-cli taskset

# trace: one command for each access; it answers the value, or nothing where it has just put it there.
trace() {
    awk -v accesses="$ACCESSES" -v keys="$KEYS" 'BEGIN {
        srand(42)
        value = sprintf("%1000s", ""); gsub(/ /, "v", value)
        for (n = 0; n < accesses; n++) {
            rank = int(exp(rand() * log(keys)))
            printf "SET key:%d %s NX GET EX %d\n", rank, value, 10000 + rank % 1000
        }
    }'
}

resident_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

# measure KIND POLICY: sets measured to "hit share, keys kept, keys evicted, resident KiB, seconds".
measure() {
    local hits begun
    start "$1"
    redis-cli -p "$started_port" CONFIG SET maxmemory "$LIMIT" maxmemory-policy "$2" >/dev/null
    begun=$EPOCHREALTIME
    # Sixteen clients, so that a store that waits for its disk does so for many at once.
    trace | taskset -c "$CLIENT_CPU" awk -v port="$started_port" -v out="$work/hits" \
        '{ print | "redis-cli -p " port " | grep -c ^v >" out "." NR % 16 }'
    hits=$(cat "$work"/hits.* | awk '{ sum += $1 } END { print sum }')
    measured="$(awk -v h="$hits" -v n="$ACCESSES" 'BEGIN { printf "%.4f", h / n }') $(redis-cli -p "$started_port" DBSIZE) $(
        redis-cli -p "$started_port" INFO stats | tr -d '\r' | awk -F: '$1 == "evicted_keys" { print $2 }'
    ) $(resident_kb "$started_pid") $(awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')"
    stop "$started_pid"
    rm -rf "$started_dir"
}

echo "| policy | hits, tidegate | hits, redis | keys kept | evicted | resident, MB |"
echo "|---|---|---|---|---|---|"
for policy in $POLICIES; do
    measure tidegate "$policy" && a=($measured)
    measure redis-memory "$policy" && b=($measured)
    say "$policy: tidegate ${a[*]} | redis ${b[*]}"
    printf '| %s | %.1f %% | %.1f %% | %s / %s | %s / %s | %.0f / %.0f |\n' "$policy" \
        "$(awk "BEGIN { print 100 * ${a[0]} }")" "$(awk "BEGIN { print 100 * ${b[0]} }")" \
        "${a[1]}" "${b[1]}" "${a[2]}" "${b[2]}" "$(awk "BEGIN { print ${a[3]} / 1024 }")" "$(awk "BEGIN { print ${b[3]} / 1024 }")"
done
