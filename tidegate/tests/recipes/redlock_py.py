"""redlock-py, unmodified: over one endpoint, and over three. A cluster is one store: three of its endpoints are three stores for redlock
only with a database each; with one database it takes the key that it has set at the first for another's at the second.
Usage: redlock_py.py TIDEGATE"""

import logging
import sys
import time

from recipes import Cluster, Crowd, check, ends_within, passed, through_deaths
from redlock import Redlock

ends_within(300)
# It logs a traceback for each node that it can't give a lock back to.
logging.disable(logging.CRITICAL)
cluster = Cluster(sys.argv[1])


def endpoint(node, db=0):
    return {"host": "127.0.0.1", "port": cluster.port(node), "db": db, "socket_timeout": 2}


def section(endpoints, name):
    manager = Redlock(endpoints, retry_count=200, retry_delay=0.01)

    def run(work):
        lock = manager.lock(name, 2_000)
        if lock:
            try:
                work(time.monotonic() + lock.validity / 1000)
            finally:
                manager.unlock(lock)

    return run


alone = Redlock([endpoint(1)])
held = alone.lock("l", 30_000)
check(bool(held), True)
check(Redlock([endpoint(2)], retry_count=1).lock("l", 30_000), False)
alone.unlock(held)
check(bool(Redlock([endpoint(3)]).lock("l", 30_000)), True)
same = Redlock([endpoint(node) for node in (1, 2, 3)], retry_count=2)
check(same.lock("same", 30_000), False, "one store can't be a majority of three")

name = cluster.key_led_by(3)
through_deaths(cluster, name, [section([endpoint(1)], name) for _ in range(4)])
three = [endpoint(node, db=node) for node in (1, 2, 3)]
lock = Redlock(three).lock("three", 1_000)
check(bool(lock), True)
check(Redlock(three, retry_count=1).lock("three", 1_000), False)
Redlock(three).unlock(lock)
# While a node is down, redlock-py raises in spite of its majority; it goes on when the node is back.
crowd = Crowd([section(three, "three") for _ in range(3)])
crowd.all_did(5)
cluster.kill(2)
cluster.restart(2)
crowd.all_did(5)
crowd.end()
passed("redlock-py")
