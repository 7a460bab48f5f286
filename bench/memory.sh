#!/bin/bash
# Memory per key, Tidegate beside redis-server: resident bytes with KEYS (1000000) keys of 16 bytes and values of 100.
# With --types: values of MEMBERS (1000000) members in all, in hashes, lists, sets and sorted sets of 10, 100 and 1,000 each.
# Environment: RUNS (3) pairs, KEYS, TIDEGATE (target/release/tidegate). BENCHMARKS.md says how to read the table.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
RUNS=${RUNS:-3}
KEYS=${KEYS:-1000000}
need redis-server redis-cli redis-benchmark taskset

resident_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

# Some commands and seconds, in which allocators give back what the filling took.
settle() {
    local i
    for i in 1 2 3; do
        sleep 1
        redis-benchmark -p "$1" -t set,get -n 2000 -c 10 -d 100 -q >/dev/null 2>&1
    done
    redis-cli -p "$1" DEL key:__rand_int__ >/dev/null
}

# weigh_type KIND TYPE COUNT: sets weighed to "KiB when empty, KiB when full" of values of COUNT members.
weigh_type() {
    local empty
    start "$1"
    empty=$(resident_kb "$started_pid")
    python3 bench/members.py "$started_port" "$2" $((MEMBERS / $3)) "$3" || die "$1 could not be filled"
    settle "$started_port"
    weighed="$empty $(resident_kb "$started_pid")"
    stop "$started_pid"
    rm -rf "$started_dir"
}

if [ "${1:-}" = --types ]; then
    need python3
    MEMBERS=${MEMBERS:-1000000}
    echo "| $MEMBERS members | tidegate MB | redis MB | ratio | bytes per member above empty | redis | ratio |"
    echo "|---|---|---|---|---|---|---|"
    for type in ${ONLY:-hash list set zset}; do
        for count in 10 100 1000; do
            file=$work/result-$type-$count
            for ((run = 1; run <= RUNS; run++)); do
                weigh_type tidegate "$type" "$count" && a=$weighed
                weigh_type redis-memory "$type" "$count" && b=$weighed
                echo "$a $b" >>"$file"
                say "$type of $count, pair $run of $RUNS: tidegate $a | redis $b (KiB empty, full)"
            done
            printf '| %s of %d | %.1f | %.1f | %.2f | %.1f | %.1f | %.2f |\n' "$type" "$count" \
                "$(median "$file" '$2 * 1.024e-3')" "$(median "$file" '$4 * 1.024e-3')" "$(median "$file" '$2 / $4')" \
                "$(median "$file" "(\$2 - \$1) * 1024 / $MEMBERS")" "$(median "$file" "(\$4 - \$3) * 1024 / $MEMBERS")" \
                "$(median "$file" '($2 - $1) / ($4 - $3)')"
        done
    done
    exit
fi

# weigh KIND: sets weighed to "KiB when empty, KiB when full".
weigh() {
    local empty
    start "$1"
    empty=$(resident_kb "$started_pid")
    fill "$started_port" "$KEYS"
    settle "$started_port"
    weighed="$empty $(resident_kb "$started_pid")"
    stop "$started_pid"
    rm -rf "$started_dir"
}

file=$work/result
for ((run = 1; run <= RUNS; run++)); do
    weigh tidegate && a=$weighed
    weigh redis-memory && b=$weighed
    echo "$a $b" >>"$file"
    say "pair $run of $RUNS: tidegate $a | redis $b (KiB empty, full)"
done
echo "| $KEYS keys | tidegate | redis | ratio |"
echo "|---|---|---|---|"
printf '| resident, MB | %.1f | %.1f | %.2f |\n' "$(median "$file" '$2 * 1.024e-3')" "$(median "$file" '$4 * 1.024e-3')" \
    "$(median "$file" '$2 / $4')"
printf '| bytes per key above empty | %.1f | %.1f | %.2f |\n' "$(median "$file" "(\$2 - \$1) * 1024 / $KEYS")" \
    "$(median "$file" "(\$4 - \$3) * 1024 / $KEYS")" "$(median "$file" '($2 - $1) / ($4 - $3)')"
