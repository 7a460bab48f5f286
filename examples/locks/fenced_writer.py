"""A writer that can be late without doing harm: it is stopped between its read and its write, and its write is refused.

    python fenced_writer.py NAME COUNT      # adds one to `total`, COUNT times, each time under the lock anew"""

import sys

from tidegate_lock import Lock, Lost, Nodes


def add_one(nodes, me):
    """True if it was added."""
    lock = Lock(nodes, "total", ttl_ms=1_000, owner=me)
    if not lock.acquire(wait_ms=60_000):
        return False
    try:
        total = int(lock.read("GET", "total") or 0)
        # Whatever happens here, however long it takes: what is written below was computed from what stands there.
        lock.write("SET", "total", total + 1)
        return True
    except Lost:
        return False
    finally:
        lock.release()


def main(me, count):
    nodes, added = Nodes(), 0
    while added < count:
        added += add_one(nodes, me)
    print(f"{me} has added {added}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
