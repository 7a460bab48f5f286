#!/usr/bin/env bash
# Locks of three Tidegate nodes beside those of etcd (its lock service) and, where it is installed, of ZooKeeper (the recipe), in the same
# run: whole cycles of acquire and release per second. Options as for bench/cluster.sh, which does the work.
#
#   PB=path/to/peerbench RUNS=3 DUR=4 bash bench/locks.sh
LOAD=locks exec bash "$(dirname "$0")/cluster.sh"
