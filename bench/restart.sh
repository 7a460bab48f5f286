#!/bin/bash
# Time from exec to the first answer over KEYS (1000000) keys that were written before, Tidegate beside redis-server
# loading its append-only file. Environment: RUNS (5) pairs, KEYS, TIDEGATE. BENCHMARKS.md says how to read the table.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
RUNS=${RUNS:-5}
KEYS=${KEYS:-1000000}
need redis-server redis-cli taskset

# restart KIND DIR PORT: sets took_ms, from exec to the first PONG, and checks that all keys are there.
restart() {
    local begun held
    begun=$(date +%s%N)
    launch "$@"
    await "$@"
    took_ms=$((($(date +%s%N) - begun) / 1000000))
    held=$(redis-cli -p "$3" DBSIZE)
    [ "$held" = "$KEYS" ] || die "$1 came back with $held keys instead of $KEYS"
    stop "$started_pid"
}

start tidegate && dir=$started_dir port=$started_port
fill "$port" "$KEYS"
stop "$started_pid"
start redis-aof && redis_dir=$started_dir redis_port=$started_port
fill "$redis_port" "$KEYS"
stop "$started_pid"
file=$work/result
for ((run = 1; run <= RUNS; run++)); do
    restart tidegate "$dir" "$port" && a=$took_ms
    restart redis-aof "$redis_dir" "$redis_port" && b=$took_ms
    echo "$a $b" >>"$file"
    say "pair $run of $RUNS: tidegate $a | redis $b (ms)"
done
echo "| $KEYS keys | tidegate | redis | ratio |"
echo "|---|---|---|---|"
printf '| restart, ms | %.0f | %.0f | %.2f |\n' "$(median "$file" '$1')" "$(median "$file" '$2')" "$(median "$file" '$1 / $2')"
