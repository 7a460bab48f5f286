#!/bin/bash
# Job frameworks and client libraries, unmodified, against the real binary: BullMQ, Celery, RQ, sessions of express, limits, locks,
# node-redis over RESP3, ioredis, redis-py's asyncio; then the examples, then a cluster through the death of its nodes. What they
# need is installed first; what can't be installed makes the script fail.
# Usage: tidegate/tests/frameworks.sh target/release/tidegate
#        tidegate/tests/frameworks.sh HOST PORT     (the first part alone, against any server; it is flushed)
set -euo pipefail
if [ $# -eq 1 ]; then tidegate=$(realpath "$1"); fi
cd "$(dirname "$0")/../.."
tidegate/tests/clients/install.sh frameworks
here=tidegate/tests/frameworks
python=target/clients/jobs-venv/bin/python
work=$(mktemp -d)
pids=

cleanup() {
    for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT

if [ $# -eq 2 ]; then
    host=$1 port=$2
else
    host=127.0.0.1
    mkfifo "$work/out"
    "$tidegate" dev --port 0 --dir "$work/data" >"$work/out" 2>"$work/log" &
    pids=$!
    exec 3<"$work/out"
    read -r -t 30 line <&3 || true
    if [[ ! ${line:-} =~ ^ready\ resp=127\.0\.0\.1:([0-9]+) ]]; then
        echo "no ready line within 30 s, but: '${line:-}'" >&2
        cat "$work/log" >&2
        exit 1
    fi
    port=${BASH_REMATCH[1]}
fi

failed=()
for program in redis_asyncio.py rq_test.py celery_test.py; do
    "$python" "$here/$program" "$host" "$port" || failed+=("$program")
done
for program in node_redis.mjs ioredis.mjs web.mjs bullmq.mjs; do
    node "$here/$program" "$host" "$port" target/clients/jobs-node || failed+=("$program")
done

# same NAME WANTED GOT
same() {
    if [ "$2" != "$3" ]; then
        printf '%s: expected\n%s\ngot\n%s\n' "$1" "$2" "$3" >&2
        tail -n 30 "$work"/*.log >&2 || true
        failed+=("$1")
    fi
}

# The examples as they stand, beside the libraries that they import.
cp examples/*.* "$work"
ln -s "$PWD/target/clients/jobs-node/node_modules" "$work/node_modules"
got=$(cd "$work" && node bullmq.mjs "$port") || true
same examples/bullmq.mjs $'plain sent to ada\nlater sent to bob\nflaky sent to eve' "$got"
bin=$PWD/target/clients/jobs-venv/bin
(cd "$work" && TIDEGATE=$host:$port exec "$bin/celery" -A celery_tasks worker -c 1 >"$work/celery.log" 2>&1) &
pids="$pids $!"
got=$(cd "$work" && TIDEGATE=$host:$port "$bin/python" celery_tasks.py) || true
same examples/celery_tasks.py $'one: 300\nin a second: 600\nall: 1200' "$got"
(cd "$work" && RQ_KEY_PREFIX='{rq}' exec "$bin/rq" worker --url "redis://$host:$port" --with-scheduler mail >"$work/rq.log" 2>&1) &
pids="$pids $!"
got=$(cd "$work" && TIDEGATE_URL=redis://$host:$port "$bin/python" rq_jobs.py) || true
same examples/rq_jobs.py $'sent to ada\nsent to bob' "$got"

if [ $# -eq 1 ]; then "$here/cluster.sh" "$tidegate" || failed+=(cluster.sh); fi
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
echo "all frameworks passed in $SECONDS s"
