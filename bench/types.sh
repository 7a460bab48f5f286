# Values of all types, scripts and messages, beside redis-server: the second table of `bench/redis.sh --all`. Sourced by it, not run.
#
# Reads are put beside Redis in memory, writes beside Redis that syncs each one, as in the first table.

ELEMENTS=1000

# load NAME PORT PIPELINE COUNT WORD..: sets loaded to "ops/s p99". In a word, __rand_int__ is a number below KEYS.
load() {
    local name=$1 port=$2 pipeline=$3 count=$4 line
    shift 4
    line=$(taskset -c "$CLIENT_CPU" redis-benchmark -p "$port" -c "$CLIENTS" -P "$pipeline" -r "$KEYS" -n "$count" --csv "$@" \
        2>/dev/null </dev/null | tail -n 1)
    [[ $line == \"* ]] || die "$name: redis-benchmark gave no result: $line"
    # The command stands in front of "rps","avg","min","p50","p95","p99","max".
    loaded=$(echo "$line" | awk -F'","' '{ print $(NF - 6), $(NF - 1) }')
}

# The cases: what stands there before, and one run. Each sets loaded.
before_lpush() { :; }
run_lpush() { load LPUSH "$1" 1 "$2" LPUSH list:__rand_int__ "$value"; }
# Fewer lists than elements are popped, so that pops find some; each is as long as the other's.
before_rpop() { KEYS=1000 load RPOP "$1" 16 $(($2 * (RUNS + 1))) LPUSH list:__rand_int__ "$value"; }
run_rpop() { KEYS=1000 load RPOP "$1" 1 "$2" RPOP list:__rand_int__; }
before_sadd() { :; }
run_sadd() { load SADD "$1" 1 "$2" SADD set:__rand_int__ member:__rand_int__; }
before_hset() { :; }
run_hset() { load HSET "$1" 1 "$2" HSET hash:__rand_int__ field:__rand_int__ "$value"; }
before_zadd() { :; }
run_zadd() { load ZADD "$1" 1 "$2" ZADD zset:__rand_int__ __rand_int__ member:__rand_int__; }
before_zrange() { KEYS=100000000 load ZADD "$1" 16 $((ELEMENTS * 10)) ZADD zset __rand_int__ member:__rand_int__; }
run_zrange() { load ZRANGE "$1" 1 "$2" ZRANGE zset 0 99; }
before_lrange() { load LPUSH "$1" 16 "$ELEMENTS" LPUSH list "$value"; }
run_lrange() { load LRANGE "$1" 1 "$2" LRANGE list 0 99; }
before_xadd() { :; }
run_xadd() { load XADD "$1" 1 "$2" XADD stream:__rand_int__ '*' field "$value"; }
before_xreadgroup() {
    load XADD "$1" 16 $(($2 * (RUNS + 1))) XADD stream '*' field "$value"
    redis-cli -p "$1" XGROUP CREATE stream g 0 >/dev/null
}
run_xreadgroup() { loaded=$(taskset -c "$CLIENT_CPU" python3 bench/groups.py "$1" stream "$CLIENTS" "$2"); }
script="local n = redis.call('INCR', KEYS[1]) redis.call('HSET', KEYS[2], n % 100, ARGV[1]) return redis.call('HLEN', KEYS[2])"
before_evalsha() { sha=$(redis-cli -p "$1" SCRIPT LOAD "$script"); }
run_evalsha() { load EVALSHA "$1" 1 "$2" EVALSHA "$sha" 2 '{a}counter' '{a}hash' "$value"; }
before_publish() { :; }
run_publish() {
    local subscribers log=$work/subscribers
    # Seven heads and ends of lines, and the words message and channel.
    local bytes=$((${#value} + 38))
    python3 bench/subscribers.py "$1" channel 100 $((bytes * $2)) >"$log" & subscribers=$!
    until grep -qs ready "$log"; do kill -0 "$subscribers" || die "the subscribers ended"; sleep 0.01; done
    load PUBLISH "$1" 1 "$2" PUBLISH channel "$value"
    wait "$subscribers" || die "not every message reached every subscriber: $(cat "$log")"
}

# One run of a case against a server: sets measured as `measure` does.
measure_case() {
    local pid=$1 port=$2 case=$3 count=$4 before
    before=$(cpu_ticks "$pid")
    "run_$case" "$port" "$count"
    measured=$(echo "$loaded" | awk -v ticks=$(($(cpu_ticks "$pid") - before)) -v hz="$ticks_per_s" -v n="$count" \
        '{ printf "%s %.4f %s", $1, ticks / hz * 1e6 / n, $2 }')
}

# compare_case NAME CASE COUNT SECOND: alternating pairs of tidegate and the other; one row of the table.
compare_case() {
    local name=$1 case=$2 count=$3 second=$4 run one
    local -A pid port result
    for one in tidegate "$second"; do
        start "$one"
        pid[$one]=$started_pid port[$one]=$started_port
        "before_$case" "$started_port" "$count"
        measure_case "${pid[$one]}" "${port[$one]}" "$case" "$count"
    done
    local file=$work/result-$case order
    for ((run = 1; run <= RUNS; run++)); do
        order="tidegate $second"
        ((run % 2)) || order="$second tidegate"
        for one in $order; do
            measure_case "${pid[$one]}" "${port[$one]}" "$case" "$count"
            result[$one]=$measured
        done
        echo "${result[tidegate]} ${result[$second]}" >>"$file"
        say "$name, pair $run of $RUNS: tidegate ${result[tidegate]} | $second ${result[$second]} (ops/s, CPU µs/op, p99 ms)"
    done
    stop "${pid[tidegate]}"
    stop "${pid[$second]}"
    printf '| %s | %.0f | %.0f | %s | %s | %s |\n' "$name" "$(median "$file" '$1')" "$(median "$file" '$4')" \
        "$(ratio "$file" '$1' '$4')" "$(ratio "$file" '$2' '$5')" "$(ratio "$file" '$3' '$6')"
}

value=$(printf "%0${VALUE_BYTES}d" 0)
ONLY=${ONLY:-zrange lrange lpush rpop sadd hset zadd xadd xreadgroup evalsha publish}
for case in $ONLY; do
    case $case in
    zrange) compare_case "ZRANGE of 100" zrange $((N / 2)) redis-memory ;;
    lrange) compare_case "LRANGE of 100" lrange $((N / 2)) redis-memory ;;
    publish) compare_case "PUBLISH to 100 subscribers" publish $((N / 20)) redis-memory ;;
    xreadgroup) compare_case "XREADGROUP + XACK" xreadgroup $((N / 10)) redis-durable ;;
    evalsha) compare_case "EVALSHA of three commands" evalsha $((N / 2)) redis-durable ;;
    lpush | rpop | sadd | hset | zadd | xadd) compare_case "${case^^}" "$case" $((N / 2)) redis-durable ;;
    *) die "no case is called $case" ;;
    esac
done
