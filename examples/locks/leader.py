"""Leader election: of all processes that run this, one leads.

    python leader.py NAME            # on as many machines as you like; TIDEGATE=host:port,host:port names the nodes

The leader writes its beat under its fence, so a former leader that was paused can't write over its successor's."""

import sys
import time

from tidegate_lock import Lock, Lost, Nodes


def lead(lock, me):
    print(f"{me} leads under fence {lock.fence}", flush=True)
    beat = int(lock.read("HGET", "election", "beat") or 0)
    while lock.holds():
        beat += 1
        lock.write("HSET", "election", "leader", me, "beat", beat)
        time.sleep(0.2)


def main(me):
    nodes = Nodes()
    while True:
        lock = Lock(nodes, "leader", ttl_ms=2_000, owner=me)
        try:
            if lock.acquire(wait_ms=60_000):
                lead(lock, me)
        except Lost:
            pass
        print(f"{me} follows", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
