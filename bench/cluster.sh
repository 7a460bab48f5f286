#!/usr/bin/env bash
# Three Tidegate nodes beside three of etcd and, where it is installed, of ZooKeeper, on this machine, in the same run.
#
#   PB=path/to/peerbench RUNS=3 DUR=4 bash bench/cluster.sh
#
# In each round every system is started afresh, warmed up by 10 s of writes, loaded and stopped, one after the other, so that
# drift of the machine hits all alike and nobody is measured while its files are made; what was written is removed at the end alone,
# for a disk discards what was removed while others write; the figures are medians over the rounds, `cpu` is that of all three server processes in microseconds per
# operation. The load client is the one that measured the peers (etcd's and ZooKeeper's protocols and RESP): PB names it.
set -euo pipefail
cd "$(dirname "$0")/.."
RUNS=${RUNS:-3} DUR=${DUR:-4} WARM=${WARM:-1} PB=${PB:?the load client}
ONLY=${ONLY:-tidegate etcd zookeeper}
# What is loaded: data, or locks (bench/locks.sh).
LOAD=${LOAD:-data}
work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-bench.XXXX")
pids=()
stop_all() {
  for pid in ${pids[@]+"${pids[@]}"}; do kill "$pid" 2>/dev/null || true; done
  for pid in ${pids[@]+"${pids[@]}"}; do wait "$pid" 2>/dev/null || true; done
  pids=()
}
trap 'stop_all; rm -rf "$work"' EXIT
cargo build --release -q -p tidegate
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
await() { for _ in $(seq 300); do "$@" && return 0; sleep 0.1; done; echo "$* did not come true" >&2; return 1; }
list() { local IFS=,; echo "$*"; }

tidegate_up() {
  target/release/tidegate local --nodes 3 --port 24000 --dir "$at" >"$work/ready" 2>"$work/log" & pids+=($!)
  await grep -qs "^ready " "$work/ready"
  servers=$(cat "$at"/node-*/pid | paste -sd,)
  eps=127.0.0.1:24010,127.0.0.1:24020,127.0.0.1:24030
}
etcd_up() {
  local peers=n1=http://127.0.0.1:22111,n2=http://127.0.0.1:22121,n3=http://127.0.0.1:22131 mine=()
  for i in 1 2 3; do
    mkdir -m 700 "$at/$i"
    etcd --name n$i --data-dir "$at/$i" --listen-client-urls http://127.0.0.1:221${i}0 \
      --advertise-client-urls http://127.0.0.1:221${i}0 --listen-peer-urls http://127.0.0.1:221${i}1 \
      --initial-advertise-peer-urls http://127.0.0.1:221${i}1 --initial-cluster "$peers" --initial-cluster-state new \
      --log-level error >"$work/log" 2>&1 & mine+=($!)
  done
  pids+=("${mine[@]}"); servers=$(list "${mine[@]}"); eps=127.0.0.1:22110,127.0.0.1:22120,127.0.0.1:22130
  for i in 1 2 3; do await port_open 221${i}0; done
  await etcd_serves
}
etcd_serves() { ETCDCTL_API=3 etcdctl --endpoints="$eps" put ready yes >/dev/null 2>&1; }
zookeeper_up() {
  local mine=()
  for i in 1 2 3; do
    mkdir "$at/$i"; echo $i >"$at/$i/myid"
    { printf '%s\n' tickTime=2000 initLimit=10 syncLimit=5 "dataDir=$at/$i" clientPort=2310$i clientPortAddress=127.0.0.1 \
        maxClientCnxns=0 admin.enableServer=false '4lw.commands.whitelist=srvr'
      for j in 1 2 3; do echo "server.$j=127.0.0.1:2320$j:2330$j"; done; } >"$at/$i.cfg"
    java -Xmx1g -Dzookeeper.admin.enableServer=false -cp /usr/share/java/zookeeper.jar \
      org.apache.zookeeper.server.quorum.QuorumPeerMain "$at/$i.cfg" >"$work/log" 2>&1 & mine+=($!)
  done
  pids+=("${mine[@]}"); servers=$(list "${mine[@]}"); eps=127.0.0.1:23101,127.0.0.1:23102,127.0.0.1:23103
  for i in 1 2 3; do await zookeeper_serves 2310$i; done
}
zookeeper_serves() { exec 3<>"/dev/tcp/127.0.0.1/$1" && printf srvr >&3 && grep -q ^Mode <&3; } 2>/dev/null

tidegate_warm() { warm redis-kv op=set conns=256; }
etcd_warm() { warm etcd-kv op=put clients=256 conns=100; }
zookeeper_warm() { warm zk op=set conns=256; }
warm() { "$PB" "$@" eps=$eps pids="$servers" warm=1 dur=9 >/dev/null; }
# One line per case: name, then what the load client says.
load() { local name=$1; shift; echo "$name $("$PB" "$@" eps=$eps pids="$servers" warm="$WARM" dur="$DUR")" >>"$work/lines"; }
tidegate_data() {
  for c in 256 1; do load "set/$c tidegate" redis-kv op=set conns=$c; done
  load "get/64 tidegate" redis-kv op=get conns=64
  load "set/256x16 tidegate" redis-kv op=set conns=256 pipe=16
}
etcd_data() {
  load "set/256 etcd" etcd-kv op=put clients=256 conns=100
  load "set/1 etcd" etcd-kv op=put clients=1 conns=1
  load "get/64 etcd" etcd-kv op=get clients=64 conns=64
}
zookeeper_data() { for c in 256 1; do load "set/$c zookeeper" zk op=set conns=$c; done; }

# Cycles of acquire and release: each client its own lock, one for all, one client alone.
locks() {
  load "separate/64 $1" "$2" conns=64
  load "one/64 $1" "$2" conns=64 contended=1
  load "alone/1 $1" "$2" conns=1
}
tidegate_locks() { locks tidegate tidegate-lock; }
etcd_locks() { locks etcd etcd-lock; }
zookeeper_locks() { locks zookeeper zk-lock; }

for ((round = 0; round < RUNS; round++)); do
  for system in $ONLY; do
    at=$work/$system-$round
    mkdir "$at"
    "${system}_up"
    "${system}_warm"
    "${system}_$LOAD"
    stop_all
  done
done
python3 - "$work/lines" <<'PY'
import collections, re, statistics, sys
cases = collections.OrderedDict()
for line in open(sys.argv[1]):
    case, system, rest = line.split(' ', 2)
    figures = dict(re.findall(r'(\w+)=([\d.]+)', rest))
    cases.setdefault(case, collections.OrderedDict()).setdefault(system, []).append(figures)
name = {'ops_per_s': 'ops/s', 'p50_us': 'p50 us', 'p99_us': 'p99 us', 'server_cpu_s_per_Mops': 'cpu us'}
print(f"{'case':12} {'system':10} " + ' '.join(f'{text:>10}' for text in name.values()) + '   beside Tidegate')
for case, systems in cases.items():
    medians = {system: {key: statistics.median(float(run[key]) for run in runs) for key in name} for system, runs in systems.items()}
    for system, figures in medians.items():
        ours = medians.get('tidegate')
        ratio = '' if system == 'tidegate' or not ours else (
            f"   {ours['ops_per_s'] / figures['ops_per_s']:.2f}x ops, {ours['p50_us'] / figures['p50_us']:.2f}x p50, "
            f"{ours['server_cpu_s_per_Mops'] / figures['server_cpu_s_per_Mops']:.2f}x cpu")
        print(f'{case:12} {system:10} ' + ' '.join(f'{figures[key]:10.1f}' for key in name) + ratio)
PY
