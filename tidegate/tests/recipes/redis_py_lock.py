"""redis-py's own Lock, unmodified: on one node what it promises, on a cluster one holder at a time through the death of nodes.
Usage: redis_py_lock.py TIDEGATE"""

import sys
import time

import redis
from recipes import Cluster, check, ends_within, passed, refuses, through_deaths
from redis.exceptions import LockError, LockNotOwnedError

ends_within(300)
cluster = Cluster(sys.argv[1])
one, other = (redis.Redis(port=cluster.port(node)) for node in (1, 2))

first, second = one.lock("l", timeout=30), other.lock("l", timeout=30)
check(first.acquire(), True)
check(second.acquire(blocking=False), False)
check(second.locked(), True)
check(first.owned(), True)
check(first.extend(10), True)
check(29 < one.ttl("l") <= 40, True, "30 s and 10 more")
check(first.reacquire(), True)
first.release()
check(second.acquire(blocking_timeout=5), True)
for call in (first.release, one.lock("l").release):
    refuses(LockError, "Cannot release", call)
second.release()
brief = one.lock("brief", timeout=0.2)
check(brief.acquire(), True)
check(other.lock("brief", timeout=1).acquire(blocking_timeout=5), True, "its time ends")
refuses(LockNotOwnedError, "no longer owned", brief.release)
name = cluster.key_led_by(3)


def section(node):
    client = redis.Redis(port=cluster.port(node))

    def run(work):
        lock = client.lock(name, timeout=4, sleep=0.005)
        begun = time.monotonic()
        if lock.acquire(blocking_timeout=10):
            try:
                # It waits in many tries, so its time began at the last of them at the latest; the first is the safe side.
                work(begun + 4)
            finally:
                lock.release()

    return run


through_deaths(cluster, name, [section(1) for _ in range(5)])
passed("redis-py's Lock")
