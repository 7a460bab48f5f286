#!/bin/bash
# Tidegate beside redis-server on this machine; BENCHMARKS.md says what is measured and how to read the table.
# With --all a second table follows, of values of all types, scripts and messages (ONLY="zrange publish": some of its cases alone).
# Environment: RUNS (5) pairs per case, N (200000) durable SETs per run at pipeline 1 (the other cases run a multiple
# of it), TIDEGATE (target/release/tidegate), TIDEGATE_ARGS, SERVER_CPU (0), CLIENT_CPU (1).
set -euo pipefail
cd "$(dirname "$0")/.."
RUNS=${RUNS:-5}
N=${N:-200000}
CLIENTS=50 VALUE_BYTES=100 KEYS=100000
. bench/lib.sh
need redis-server redis-cli redis-benchmark taskset
ticks_per_s=$(getconf CLK_TCK)

# User and system time of a process, all its threads, in clock ticks. The name in field 2 may hold blanks.
cpu_ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }

# measure PID PORT OP PIPELINE COUNT: sets measured to "ops/s, CPU µs per operation, p99 ms".
measure() {
    local pid=$1 port=$2 op=$3 pipeline=$4 count=$5 before after line
    before=$(cpu_ticks "$pid")
    line=$(taskset -c "$CLIENT_CPU" redis-benchmark -p "$port" -t "$op" -c "$CLIENTS" -P "$pipeline" -d "$VALUE_BYTES" \
        -r "$KEYS" -n "$count" --csv 2>/dev/null </dev/null | grep -i "^\"$op\"") || die "redis-benchmark -t $op gave no result"
    after=$(cpu_ticks "$pid")
    # "test","rps","avg","min","p50","p95","p99","max"
    measured=$(echo "$line" | tr -d '"' | awk -F, -v ticks=$((after - before)) -v hz="$ticks_per_s" -v n="$count" \
        '{ printf "%s %.4f %s", $2, ticks / hz * 1e6 / n, $7 }')
}

# A server that dropped its writes would answer GETs fast: some key must hold a whole value.
check_filled() {
    local length
    length=$(redis-cli -p "$2" STRLEN "$(redis-cli -p "$2" RANDOMKEY)")
    [ "$length" = "$VALUE_BYTES" ] || die "$1 on port $2 doesn't hold what was written: STRLEN of a key is '$length'"
}

# Columns of a case's file: ops, CPU and p99 of the first server, then of the second.

# A ratio's median, "-" where the resolution of the clock gave a zero to divide by.
ratio() {
    if awk "{ if ($3 == 0) zero = 1 } END { exit !zero }" "$1"; then echo "-"; else printf '%.2f' "$(median "$1" "$2 / $3")"; fi
}

# compare NAME OP PIPELINE COUNT FIRST SECOND: alternating pairs; one row of the table.
compare() {
    local name=$1 op=$2 pipeline=$3 count=$4 run first_pid first_port second_pid second_port a b
    start "$5" && first_pid=$started_pid first_port=$started_port
    start "$6" && second_pid=$started_pid second_port=$started_port
    local file=$work/result-$first_port
    measure "$first_pid" "$first_port" set 16 "$KEYS"
    measure "$second_pid" "$second_port" set 16 "$KEYS"
    check_filled "$5" "$first_port"
    check_filled "$6" "$second_port"
    for ((run = 1; run <= RUNS; run++)); do
        if ((run % 2)); then
            measure "$first_pid" "$first_port" "$op" "$pipeline" "$count" && a=$measured
            measure "$second_pid" "$second_port" "$op" "$pipeline" "$count" && b=$measured
        else
            measure "$second_pid" "$second_port" "$op" "$pipeline" "$count" && b=$measured
            measure "$first_pid" "$first_port" "$op" "$pipeline" "$count" && a=$measured
        fi
        echo "$a $b" >>"$file"
        say "$name, pair $run of $RUNS: $5 $a | $6 $b (ops/s, CPU µs/op, p99 ms)"
    done
    stop "$first_pid"
    stop "$second_pid"
    printf '| %s | %.0f | %.0f | %s | %s | %s |\n' "$name" "$(median "$file" '$1')" "$(median "$file" '$4')" \
        "$(ratio "$file" '$1' '$4')" "$(ratio "$file" '$2' '$5')" "$(ratio "$file" '$3' '$6')"
}

say "$(redis-server --version)"
say "$("$TIDEGATE" --version 2>/dev/null || echo "$TIDEGATE")"
echo "| case | tidegate ops/s | redis ops/s | ratio | CPU ratio | p99 ratio |"
echo "|---|---|---|---|---|---|"
# Counts make each run last seconds on a usual machine: CPU time comes in ticks of 10 ms.
if [ "${1:-}" = --all ] && [ -n "${ONLY:-}" ]; then
    . bench/types.sh
    exit
fi
compare "GET, pipeline 1" get 1 $((N * 2)) tidegate redis-memory
compare "GET, pipeline 16" get 16 $((N * 15)) tidegate redis-memory
compare "SET durable, pipeline 1" set 1 "$N" tidegate redis-durable
compare "SET durable, pipeline 16" set 16 $((N * 5)) tidegate redis-durable
compare "control: GET, pipeline 1, Redis against Redis" get 1 $((N * 2)) redis-memory redis-memory
compare "control: SET durable, pipeline 1, Redis against Redis" set 1 "$N" redis-durable redis-durable
[ "${1:-}" != --all ] || . bench/types.sh
