#!/bin/bash
# Recipes for locks, unmodified, on a cluster of three nodes through the death of nodes: redis-py's Lock, redlock-py, scripts as
# Redisson's; then each command of docs/locks.md, and the examples of locks. What they need is installed first; what can't be installed makes the script fail.
# Usage: tidegate/tests/recipes.sh target/release/tidegate [PROGRAM..]
set -euo pipefail
tidegate=$(realpath "${1:?the path of the tidegate binary}")
shift
cd "$(dirname "$0")/../.."
tidegate/tests/clients/install.sh
[ $# -gt 0 ] || set -- redis_py_lock.py redlock_py.py redisson.py docs.py examples.py
for program in "$@"; do
    target/clients/venv/bin/python "tidegate/tests/recipes/$program" "$tidegate"
done
echo "all recipes passed in $SECONDS s"
