# What the scripts of this folder share: servers up and down, keys in, ratios out. Sourced, not run.

TIDEGATE=${TIDEGATE:-target/release/tidegate}
SERVER_CPU=${SERVER_CPU:-0} CLIENT_CPU=${CLIENT_CPU:-1}

say() { echo "$*" >&2; }
die() { say "$0: $*"; exit 1; }

need() {
    local program
    for program; do
        command -v "$program" >/dev/null || die "$program is missing (Debian: redis-server redis-tools util-linux)"
    done
    [ -x "$TIDEGATE" ] || die "$TIDEGATE is missing: cargo build --release, or set TIDEGATE"
    taskset -c "$CLIENT_CPU" true 2>/dev/null || die "needs two CPUs: the server on $SERVER_CPU, the client on $CLIENT_CPU"
}

work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-bench.XXXXXX")
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

# launch KIND DIR PORT: a server of that kind over a directory. Sets started_pid.
launch() {
    local kind=$1 dir=$2 port=$3
    case $kind in
    # shellcheck disable=SC2086 # the arguments are words
    tidegate) set -- "$TIDEGATE" dev --port "$port" --dir "$dir" ${TIDEGATE_ARGS:-} ;;
    redis-memory) set -- redis-server --port "$port" --bind 127.0.0.1 --dir "$dir" --save "" --appendonly no ;;
    redis-aof) set -- redis-server --port "$port" --bind 127.0.0.1 --dir "$dir" --save "" \
        --appendonly yes --appendfsync everysec ;;
    redis-durable) set -- redis-server --port "$port" --bind 127.0.0.1 --dir "$dir" --save "" \
        --appendonly yes --appendfsync always ;;
    esac
    taskset -c "$SERVER_CPU" "$@" >>"$dir.log" 2>&1 </dev/null &
    started_pid=$!
    pids+=("$started_pid")
}

# await KIND DIR PORT: returns once the server answers PING with PONG.
await() {
    local tries
    for ((tries = 0; tries < 6000; tries++)); do
        kill -0 "$started_pid" 2>/dev/null || break
        [ "$(redis-cli -p "$3" PING 2>/dev/null)" = PONG ] && return
        sleep 0.01
    done
    cat "$2.log" >&2
    die "$1 did not answer on port $3"
}

# start KIND: a fresh server, up and answering. Sets started_pid, started_port and started_dir.
start() {
    free_port
    started_port=$last_port started_dir=$work/$1-$last_port
    mkdir "$started_dir"
    launch "$1" "$started_dir" "$started_port"
    await "$1" "$started_dir" "$started_port"
}

stop() {
    kill -TERM "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# fill PORT COUNT: that many keys of 16 bytes with values of 100 bytes, each once.
fill() {
    local held
    awk -v count="$2" 'BEGIN {
        value = sprintf("%0100d", 0)
        for (i = 0; i < count; i++) printf "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$100\r\n%s\r\n", i, value
    }' | taskset -c "$CLIENT_CPU" redis-cli -p "$1" --pipe >/dev/null
    held=$(redis-cli -p "$1" DBSIZE)
    [ "$held" = "$2" ] || die "the server on port $1 holds $held keys instead of $2"
}

# Columns of a file of runs. `median` takes an awk expression.
median() { awk "{ print ($2) }" "$1" | sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
