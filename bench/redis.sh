#!/bin/bash
# Tidegate beside redis-server on this machine; BENCHMARKS.md says what is measured and how to read the table.
# Environment: RUNS (5) pairs per case, N (200000) durable SETs per run at pipeline 1 (the other cases run a multiple
# of it), TIDEGATE (target/release/tidegate).
set -euo pipefail
cd "$(dirname "$0")/.."
RUNS=${RUNS:-5}
N=${N:-200000}
TIDEGATE=${TIDEGATE:-target/release/tidegate}
SERVER_CPU=0 CLIENT_CPU=1
CLIENTS=50 VALUE_BYTES=100 KEYS=100000

say() { echo "$*" >&2; }
die() { say "bench/redis.sh: $*"; exit 1; }

for program in redis-server redis-cli redis-benchmark taskset; do
    command -v "$program" >/dev/null || die "$program is missing (Debian: redis-server redis-tools util-linux)"
done
[ -x "$TIDEGATE" ] || die "$TIDEGATE is missing: cargo build --release, or set TIDEGATE"
taskset -c "$CLIENT_CPU" true 2>/dev/null || die "needs two CPUs: the server on $SERVER_CPU, the client on $CLIENT_CPU"

work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-bench.XXXXXX")
ticks_per_s=$(getconf CLK_TCK)
pids=()
cleanup() {
    local pid
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# A port above 21000 on which nobody answers.
last_port=21000
free_port() {
    last_port=$((last_port + 10))
    while (: <"/dev/tcp/127.0.0.1/$last_port") 2>/dev/null; do last_port=$((last_port + 10)); done
}

# start KIND: a server of that kind, up and answering. Sets started_pid and started_port.
start() {
    local kind=$1 dir tries
    free_port
    dir=$work/$kind-$last_port
    mkdir "$dir"
    case $kind in
    tidegate) set -- "$TIDEGATE" dev --port "$last_port" --dir "$dir" ;;
    redis-memory) set -- redis-server --port "$last_port" --bind 127.0.0.1 --dir "$dir" --save "" --appendonly no ;;
    redis-durable) set -- redis-server --port "$last_port" --bind 127.0.0.1 --dir "$dir" --save "" \
        --appendonly yes --appendfsync always ;;
    esac
    taskset -c "$SERVER_CPU" "$@" >"$dir.log" 2>&1 </dev/null &
    started_pid=$! started_port=$last_port
    pids+=("$started_pid")
    for ((tries = 0; tries < 100; tries++)); do
        kill -0 "$started_pid" 2>/dev/null || break
        [ "$(redis-cli -p "$started_port" PING 2>/dev/null)" = PONG ] && return
        sleep 0.1
    done
    cat "$dir.log" >&2
    die "$kind did not answer on port $started_port"
}

stop() {
    kill -TERM "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

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

# Columns of a case's file: ops, CPU and p99 of the first server, then of the second. `median` takes an awk expression.
median() { awk "{ print ($2) }" "$1" | sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

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
compare "GET, pipeline 1" get 1 $((N * 2)) tidegate redis-memory
compare "GET, pipeline 16" get 16 $((N * 15)) tidegate redis-memory
compare "SET durable, pipeline 1" set 1 "$N" tidegate redis-durable
compare "SET durable, pipeline 16" set 16 $((N * 5)) tidegate redis-durable
compare "control: GET, pipeline 1, Redis against Redis" get 1 $((N * 2)) redis-memory redis-memory
compare "control: SET durable, pipeline 1, Redis against Redis" set 1 "$N" redis-durable redis-durable
