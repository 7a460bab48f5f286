#!/usr/bin/env bash
# What a million names of locks take in memory on three nodes, each used once, and how long it takes until they are forgotten.
#
#   NAMES=1000000 bash bench/locks-names.sh
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release -q -p tidegate
exec python3 bench/locks_names.py --names "${NAMES:-1000000}" --nodes "${NODES:-3}"
