#!/usr/bin/env bash
# Holders that are stopped (SIGSTOP) past their time, wake up and write: how many of their writes are let in.
#
#   ROUNDS=10000 bash bench/fencing.sh            # three nodes of Tidegate, then Redis with redis-py's Lock
#   ROUNDS=1000 ONLY=tidegate bash bench/fencing.sh
#
# A round is one lock of one stopped process, which holds a hundred; the ttl is 50 ms. Fails if Tidegate lets a stale write in.
set -euo pipefail
cd "$(dirname "$0")/.."
ROUNDS=${ROUNDS:-10000} ONLY=${ONLY:-tidegate redis} TIDEGATE=${TIDEGATE:-target/release/tidegate} PYTHON=${PYTHON:-python3}
work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-fencing.XXXX")
server=
stop() { [ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }; server=; }
trap 'stop; rm -rf "$work"' EXIT
await() { for _ in $(seq 300); do "$@" && return 0; sleep 0.1; done; echo "$* did not come true" >&2; return 1; }
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for system in $ONLY; do
  case $system in
  tidegate)
    [ -x "$TIDEGATE" ] || cargo build --release -q -p tidegate
    "$TIDEGATE" local --nodes 3 --port 24000 --dir "$work/c" >"$work/ready" 2>"$work/log" & server=$!
    await grep -qs '^ready ' "$work/ready"
    python3 bench/fencing.py tidegate --rounds "$ROUNDS" --ports 24010,24020 ;;
  redis)
    "$PYTHON" -c 'import redis' 2>/dev/null || {
      python3 -m venv "$work/venv"
      "$work/venv/bin/pip" install -q redis
      PYTHON=$work/venv/bin/python
    }
    redis-server --port 24090 --bind 127.0.0.1 --dir "$work" --save "" --appendonly no >"$work/log" & server=$!
    await port_open 24090
    "$PYTHON" bench/fencing.py redis --rounds "$ROUNDS" --ports 24090,24090 ;;
  esac
  stop
done
