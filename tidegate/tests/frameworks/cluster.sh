#!/bin/bash
# Job frameworks and clients, unmodified, on a cluster of three nodes, through the death by kill -9 of the node that leads their
# keys, in the middle of their work: none of it is lost. The clients know the nodes that survive.
# Usage: tidegate/tests/frameworks/cluster.sh target/release/tidegate
set -euo pipefail
tidegate=$(realpath "${1:?the path of the tidegate binary}")
cd "$(dirname "$0")/../../.."
here=tidegate/tests/frameworks
work=$(mktemp -d)
local_pid=
restarted=
running=

cleanup() {
    for pid in $running $local_pid $restarted; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap cleanup EXIT

fail() {
    echo "$*" >&2
    tail -n 100 "$work"/*.out >&2 || true
    tail -n 5 "$work"/cluster/node-*/log >&2 || true
    exit 1
}

# await FILE PATTERN: until a line of the file matches, for at most 40 s.
await() {
    # grep ends first, and tail by its pipe.
    (set +o pipefail && timeout 40 tail -n +1 -F "$1" 2>/dev/null | grep -q -m 1 "$2") || fail "no '$2' in $1 within 40 s"
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
grep -q '^ready ' "$work/local.out" || fail "no cluster was started"

# A hash tag whose keys the node leads: the cluster ports of the others send clients there. Until they know where it listens, they
# serve such keys themselves.
tag_of() {
    local n other sent
    for n in $(seq 1000); do
        sent=
        for other in 1 2 3; do
            [ "$other" = "$1" ] || sent="$sent$(redis-cli -p $((base + 10 * other + 5)) EXISTS "{t$((n % 50))}") "
        done
        if [[ $sent =~ ^MOVED\ [0-9]+\ [0-9.]+:$((base + 10 * $1 + 5))\ MOVED\ [0-9]+\ [0-9.]+:$((base + 10 * $1 + 5))\ $ ]]; then
            echo "{t$((n % 50))}"
            return
        fi
    done
    fail "node-$1 leads nothing"
}

# lost_leader HOW: what clients see, from now on, of writes whose leader was lost.
lost_leader() {
    local node
    for node in 1 2 3; do redis-cli -e -p $((base + 10 * node)) CONFIG SET on-lost-leader "$1" >"$work/set.out" || fail "CONFIG SET"; done
}

# through VICTIM PROGRAM..: starts the programs, kills the node when all are in the middle, and waits for their success.
through() {
    local victim=$1 tag survivors= all= node program number=0 fds=() pids=()
    shift
    for node in 1 2 3; do
        all=${all:+$all,}$((base + 10 * node + 5))
        [ "$node" = "$victim" ] || survivors=${survivors:+$survivors,}$((base + 10 * node))
    done
    tag=$(tag_of "$victim")
    for program in "$@"; do
        mkfifo "$work/$program.in"
        number=$((number + 1))
        case $program in
        *.mjs) set -- node "$here/$program" "$tag" target/clients/jobs-node "$survivors" "$all" ;;
        *.py) set -- target/clients/jobs-venv/bin/python "$here/$program" "$tag" "$survivors" ;;
        esac
        # The other programs' stdin must end when this script closes it: none may inherit it.
        (for fd in "${fds[@]}"; do exec {fd}>&-; done; exec "$@" <"$work/$program.in" >"$work/$program.out" 2>&1) &
        pids+=($!)
        running="$running $!"
        exec {fd}>"$work/$program.in"
        fds+=("$fd")
        programs[number]=$program
    done
    for program in "${programs[@]}"; do await "$work/$program.out" '^half'; done
    echo "node-$victim, which leads $tag, is killed"
    kill -KILL "$(cat "$work/cluster/node-$victim/pid")"
    for fd in "${fds[@]}"; do exec {fd}>&-; done
    for number in "${!pids[@]}"; do
        wait "${pids[number]}" || fail "${programs[number + 1]} failed"
        tail -n 2 "$work/${programs[number + 1]}.out"
    done
    running=
    programs=()
    # It comes back before the next dies.
    "$tidegate" server --config "$work/cluster/node-$victim/node.toml" >"$work/node-$victim.out" 2>>"$work/cluster/node-$victim/log" &
    restarted="$restarted $!"
    await "$work/node-$victim.out" '^ready '
}

programs=()
lost_leader error
# redis-py sends a write again by itself when its connection ends, so its exact counts stand only where it is told of the doubt.
through 1 bullmq_cluster.mjs web_cluster.mjs node_redis_cluster.mjs redis_asyncio_cluster.py
lost_leader close
through 2 celery_cluster.py
lost_leader close
through 3 rq_cluster.py
