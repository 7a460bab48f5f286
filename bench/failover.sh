#!/usr/bin/env bash
# What a dead node costs its clients: the longest time for which the worst of 48 writers had no acknowledgement.
#
#   PB=path/to/peerbench RUNS=10 bash bench/failover.sh
#
# Each writer has one key of its own, spread over all shards, is connected to a node that survives, and sends the same
# key again until it is acknowledged. In each run a fresh cluster is loaded for 3 s, then one node is killed (-9), or
# stopped (SIGSTOP) in the runs called so; the victim goes round. Beside it etcd, whose leader is killed, if it is
# installed and ONLY names it.
set -euo pipefail
cd "$(dirname "$0")/.."
RUNS=${RUNS:-10} PB=${PB:?the load client} ONLY=${ONLY:-kill stop}
work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-bench.XXXX")
cluster=
stop_cluster() {
  [ -n "$cluster" ] || return 0
  kill -CONT $(cat "$work"/c/node-*/pid) 2>/dev/null || true
  kill "$cluster" 2>/dev/null || true
  wait "$cluster" 2>/dev/null || true
  cluster=
}
trap 'stop_cluster; rm -rf "$work"' EXIT
cargo build --release -q -p tidegate
for ((run = 0; run < RUNS; run++)); do
  for kind in $ONLY; do
    rm -rf "$work/c"
    target/release/tidegate local --nodes 3 --port 24000 --dir "$work/c" >"$work/ready" 2>"$work/log" & cluster=$!
    for _ in $(seq 300); do grep -qs '^ready ' "$work/ready" && break; sleep 0.1; done
    victim=$((run % 3 + 1)) survivors=
    for node in 1 2 3; do [ $node = $victim ] || survivors=$survivors,127.0.0.1:240${node}0; done
    signal=$([ "$kind" = stop ] && echo sig=stop || true)
    line=$("$PB" resp-failover eps="${survivors#,}" writers=24 after=3 dur=5 kill="$(cat "$work/c/node-$victim/pid")" $signal)
    echo "$kind $line" | tee -a "$work/lines" >&2
    stop_cluster
  done
done
python3 - "$work/lines" <<'PY'
import re, statistics, sys
kinds = {}
for line in open(sys.argv[1]):
    kinds.setdefault(line.split()[0], []).append(float(re.search(r'longest_gap_ms=([\d.]+)', line)[1]))
for kind, gaps in kinds.items():
    print(f"{kind}: the worst writer's gap: median {statistics.median(gaps):.0f} ms, worst {max(gaps):.0f} ms, of {len(gaps)} runs: {sorted(map(round, gaps))}")
PY
