#!/usr/bin/env bash
# What clients feel while a lost node is replaced: a new one gets the data of every shard under load.
#
#   PB=path/to/peerbench MB=400 bash bench/replace.sh
#
# Three nodes hold MB megabytes; one is killed. 64 connections SET on the survivors: first alone, then while a new node
# joins, catches up and takes the lost one's place.
set -euo pipefail
cd "$(dirname "$0")/.."
PB=${PB:?the load client} MB=${MB:-400} DUR=${DUR:-10}
work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-bench.XXXX")
pids=()
trap 'kill ${pids[@]+"${pids[@]}"} 2>/dev/null || true; wait; rm -rf "$work"' EXIT
cargo build --release -q -p tidegate
tidegate=target/release/tidegate
$tidegate local --nodes 3 --port 24000 --dir "$work/c" >"$work/ready" 2>"$work/log" & pids+=($!)
for _ in $(seq 300); do grep -qs '^ready ' "$work/ready" && break; sleep 0.1; done
$tidegate bench --target 127.0.0.1:24010 --mix set=1 --value-bytes 10000 --keys $((MB * 100)) --requests $((MB * 100)) >"$work/fill" 2>&1 || { cat "$work/fill"; exit 1; }
dead=$(sed -n "s/^id = [\"']\(.*\)[\"']/\1/p" "$work/c/node-3/node.toml" | head -1)
kill -9 "$(cat "$work/c/node-3/pid")"
mkdir "$work/c/node-4"
sed -e '0,/^id = /s/^id = .*/id = "00000000000000d4"/' -e "s/2403\([0-9]\)\$/2404\1/" -e "s/node-3/node-4/" "$work/c/node-3/node.toml" >"$work/c/node-4/node.toml"
load() { "$PB" redis-kv eps=127.0.0.1:24010,127.0.0.1:24020 op=set conns=64 warm=1 dur="$1"; }
echo "two nodes alone:   $(load "$DUR")"
$tidegate server --config "$work/c/node-4/node.toml" --join >"$work/joined" 2>"$work/c/node-4/log" & pids+=($!)
load "$DUR" >"$work/during" & loaded=$!
for _ in $(seq 100); do $tidegate status --admin 127.0.0.1:24041 >/dev/null 2>&1 && break; sleep 0.1; done
begun=$(date +%s.%N)
$tidegate cluster replace --dead "$dead" --with 127.0.0.1:24041 --admin 127.0.0.1:24011
echo "replaced after $(echo "$(date +%s.%N) - $begun" | bc) s"
wait $loaded
echo "while it catches up: $(cat "$work/during")"
echo "three nodes again: $(load "$DUR")"
