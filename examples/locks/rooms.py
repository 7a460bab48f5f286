"""Rooms of a game: each room lives on one server, and moves to another when that one dies or hangs.

    python rooms.py SERVER ROOM..

A server keeps a room's state in memory and writes it down at each tick, under the fence of the room's lock. Whoever takes the room over
reads the state under its own fence first: from then on nothing of the former server gets in, however late it wakes up."""

import sys
import threading
import time

from tidegate_lock import Lock, Lost, Nodes


def say(line):
    # In one piece: other rooms' threads speak too.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def play(lock, server, room):
    state = f"{{room:{room}}}"
    tick = int(lock.read("HGET", state, "tick") or 0)
    say(f"{server} has room {room} at tick {tick}")
    while lock.holds():
        tick += 1
        lock.write("HSET", state, "tick", tick, "server", server)
        time.sleep(0.1)


def keep(nodes, server, room):
    while True:
        lock = Lock(nodes, f"room:{room}", ttl_ms=1_500, owner=server)
        try:
            if lock.acquire(wait_ms=60_000):
                play(lock, server, room)
        except Lost:
            pass
        say(f"{server} has lost room {room}")


def main(server, rooms):
    threads = [threading.Thread(target=keep, args=(Nodes(), server, room)) for room in rooms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
