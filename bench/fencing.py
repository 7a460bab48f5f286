"""Stopped holders and their late writes; bench/fencing.sh says what is counted.

The holder is a process of its own. It takes its locks, looks whether it still holds them, is stopped right then, and writes as soon as it
runs again: the worst that a garbage collection, a slow disk or a paused machine can do. Meanwhile another takes the locks.

  read     the other makes one fenced read of each key before the holder wakes: no late write may be let in
  fencing  the other acquires with FENCING and sends nothing more: no late write may be let in
  late     the holder wakes before the other's first read: what it wrote is seen by that read, and what it writes behind it is not let in
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time

TTL_MS = 50


class Tidegate:
    """Pipelines of commands on one connection."""

    locks = 100

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def all(self, commands):
        out = b""
        for command in commands:
            parts = [str(part).encode() for part in command]
            out += b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.sock.sendall(out)
        return [self.reply() for _ in commands]

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2].decode()
        return int(rest) if kind == b":" else line[:-2].decode()

    def acquire(self, names, owner, fencing=False):
        """Every lock, asked for until it is granted; the fences."""
        fences, self.begun = {}, time.monotonic()
        while len(fences) < len(names):
            left = [name for name in names if name not in fences]
            ask = [["LOCK.ACQUIRE", name, owner, TTL_MS, "ID", name] + (["FENCING", "key:" + name] if fencing else []) for name in left]
            for name, reply in zip(left, self.all(ask)):
                if isinstance(reply, list):
                    fences[name] = reply[1]
        return fences

    def still_held(self, fences):
        """What is held by the holder's own account, from before it asked."""
        return fences if time.monotonic() < self.begun + TTL_MS / 1000 else {}

    def write(self, fences, value):
        """The names whose write was let in."""
        names = list(fences)
        replies = self.all([["FENCE", name, fences[name], "SET", "key:" + name, value] for name in names])
        for reply in replies:
            if reply != "+OK" and not reply.startswith("-FENCED "):
                raise SystemExit(f"neither let in nor refused: {reply}")
        return [name for name, reply in zip(names, replies) if reply == "+OK"]

    def read(self, fences):
        return dict(zip(fences, self.all([["FENCE", name, fence, "GET", "key:" + name] for name, fence in fences.items()])))


class Redis:
    """redis-py's Lock; what it has for a fence is that the holder looks first."""

    # One after the other, and all within their time.
    locks = 20

    def __init__(self, port):
        import redis

        self.client = redis.Redis(port=port, decode_responses=True)

    def acquire(self, names, owner, fencing=False):
        locks = {}
        while len(locks) < len(names):
            for name in names:
                if name not in locks:
                    lock = self.client.lock(name, timeout=TTL_MS / 1000)
                    if lock.acquire(blocking=False):
                        locks[name] = lock
        return locks

    def still_held(self, locks):
        return {name: lock for name, lock in locks.items() if lock.owned()}

    def write(self, locks, value):
        return [name for name in locks if self.client.set("key:" + name, value)]

    def read(self, locks):
        return {name: self.client.get("key:" + name) for name in locks}


def holder(system, port):
    """Takes locks, stops itself, writes twice when it wakes: the second time when it is told to."""
    client = system(port)
    for line in sys.stdin:
        turn = json.loads(line)
        held = client.still_held(client.acquire(turn["names"], "holder-" + turn["value"]))
        os.kill(os.getpid(), signal.SIGSTOP)
        print(json.dumps([len(held), client.write(held, turn["value"])]), flush=True)
        if sys.stdin.readline().strip() == "again":
            print(json.dumps(client.write(held, turn["value"] + "-again")), flush=True)


def await_stopped(pid):
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            return
        raise SystemExit("the holder has ended")


def trial(kind, system, holders, other, rounds):
    """How many rounds there were, how many late writes were let in that must not, and how many were let in and seen."""
    done = stale = seen = turn = 0
    while done < rounds:
        turn += 1
        names = [f"{kind}:{turn}:{at}" for at in range(system.locks)]
        value = f"late-{kind}-{turn}"
        holders.stdin.write(json.dumps({"names": names, "value": value}) + "\n")
        holders.stdin.flush()
        await_stopped(holders.pid)
        fences = other.acquire(names, "other", fencing=kind == "fencing")
        if kind == "read":
            other.read(fences)
        os.kill(holders.pid, signal.SIGCONT)
        held, let_in = json.loads(holders.stdout.readline())
        if kind == "late":
            found = other.read(fences)
            wrong = [name for name in let_in if found[name] != value]
            if wrong:
                raise SystemExit(f"writes that were let in are not seen: {wrong}")
            seen += len(let_in)
            holders.stdin.write("again\n")
            holders.stdin.flush()
            stale += len(json.loads(holders.stdout.readline()))
        else:
            stale += len(let_in)
            holders.stdin.write("next\n")
            holders.stdin.flush()
        done += held
    return done, stale, seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("system", choices=["tidegate", "redis"])
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--ports", required=True)
    parser.add_argument("--holder", action="store_true")
    options = parser.parse_args()
    system = Tidegate if options.system == "tidegate" else Redis
    ports = [int(port) for port in options.ports.split(",")]
    if options.holder:
        return holder(system, ports[0])
    total = 0
    for kind in ["read", "fencing", "late"] if system is Tidegate else ["read"]:
        begun = time.monotonic()
        holders = subprocess.Popen([sys.executable, *sys.argv, "--holder"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        done, stale, seen = trial(kind, system, holders, system(ports[-1]), options.rounds)
        holders.stdin.close()
        holders.wait()
        total += stale
        shown = f", {seen} let in before the other's read, which saw each" if kind == "late" else ""
        print(f"{options.system} {kind}: {done} rounds, {stale} stale writes let in{shown} ({time.monotonic() - begun:.0f} s)", flush=True)
    if system is Tidegate and total:
        raise SystemExit("stale writes were let in")


main()
