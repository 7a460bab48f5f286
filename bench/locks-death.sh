#!/usr/bin/env bash
# What a dead node costs those who use locks: the longest time for which the worst client finished no cycle of acquire and release.
#
#   RUNS=10 bash bench/locks-death.sh
#
# Three nodes: one is killed (-9), or stopped (SIGSTOP); five nodes: two are. 24 clients of each surviving node have one lock name each,
# whose homes are spread over all nodes. In each run a fresh cluster is loaded for 2 s, then it happens; the victims go round.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release -q -p tidegate
exec python3 bench/locks_death.py --runs "${RUNS:-10}" --cases "${CASES:-3kill,3stop,5kill,5stop}"
