#!/bin/bash
# What a snapshot costs those who write meanwhile: durable SETs at full load on a node that takes snapshots all the
# time and on one that takes none, by turns; then the same with one value of BIG_MIB (256) among the keys.
# Environment: RUNS (5) pairs, KEYS (1000000), SECONDS_EACH (8), TIDEGATE. BENCHMARKS.md says how to read the table.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
RUNS=${RUNS:-5}
KEYS=${KEYS:-1000000}
BIG_MIB=${BIG_MIB:-256}
SECONDS_EACH=${SECONDS_EACH:-8}
need redis-cli redis-benchmark taskset

resident_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
# Snapshots that the node has finished.
snapshots() { grep -c "a snapshot is finished" "$1" || true; }

# node MIB: a full node whose log may grow by so many MiB between snapshots. Sets node_pid, node_port, node_log.
node() {
    free_port
    node_port=$last_port node_log=$work/log-$last_port
    taskset -c "$SERVER_CPU" "$TIDEGATE" dev --port "$node_port" --dir "$work/data-$node_port" --snapshot-after-mib "$1" \
        >/dev/null 2>"$node_log" &
    node_pid=$!
    pids+=("$node_pid")
    local i
    for ((i = 0; i < 100; i++)); do redis-cli -p "$node_port" PING >/dev/null 2>&1 && break; sleep 0.1; done
    redis-benchmark -p "$node_port" -t set -c 50 -P 32 -d 100 -r "$KEYS" -n $((KEYS * 3)) -q >/dev/null 2>&1
}

# load PORT PID: sets loaded to "p99.9 in µs, the most KiB resident meanwhile".
load() {
    local most=0 now bench out=$work/bench.json
    taskset -c "$CLIENT_CPU" "$TIDEGATE" bench --target "127.0.0.1:$1" --command 'SET key:{} {}' --keys "$KEYS" \
        --warmup 1s --duration "${SECONDS_EACH}s" --json >"$out" 2>/dev/null &
    bench=$!
    while kill -0 "$bench" 2>/dev/null; do
        now=$(resident_kb "$2")
        ((now > most)) && most=$now
        sleep 0.05
    done
    wait "$bench"
    loaded="$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["service_us"]["p99_9"])' "$out") $most"
}

# compare NAME: a row of the table.
compare() {
    local run a b file=$work/result-$quiet_port
    for ((run = 1; run <= RUNS; run++)); do
        load "$quiet_port" "$quiet_pid" && a=$loaded
        load "$busy_port" "$busy_pid" && b=$loaded
        say "$1, pair $run of $RUNS: without $a | with snapshots $b (p99.9 µs, most KiB); $(snapshots "$busy_log") snapshots so far"
        echo "$a $b" >>"$file"
    done
    printf '| %s | %.0f | %.0f | %.2f | %.2f |\n' "$1" "$(median "$file" '$1')" "$(median "$file" '$3')" \
        "$(median "$file" '$3 / $1')" "$(median "$file" '$4 / $2')"
    rm "$file"
}

node 1000000 && quiet_pid=$node_pid quiet_port=$node_port quiet_log=$node_log
node 64 && busy_pid=$node_pid busy_port=$node_port busy_log=$node_log
echo "| $KEYS keys | p99.9 without, µs | with snapshots, µs | ratio | memory ratio |"
echo "|---|---|---|---|---|"
compare "durable SET of 100 bytes"
head -c $((BIG_MIB * 1024 * 1024)) /dev/zero >"$work/big"
redis-cli -p "$quiet_port" -x SET big <"$work/big" >/dev/null
redis-cli -p "$busy_port" -x SET big <"$work/big" >/dev/null
compare "the same, with a value of $BIG_MIB MiB"
[ "$(snapshots "$busy_log")" -gt 2 ] || die "too few snapshots were taken for this to mean anything"
