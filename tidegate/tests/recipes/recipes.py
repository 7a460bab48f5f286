"""A real cluster of three nodes for the tests of recipes: any node can be killed, stopped and started again. And a crowd that contends
for a lock, of which never two may be inside at once."""

import atexit
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import redis

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "frameworks"))
from support import check, ends_within, kill, passed, refuses  # noqa: E402, F401


class Cluster:
    def __init__(self, tidegate):
        self.tidegate, self.folder, self.started, self.again = tidegate, tempfile.mkdtemp(), [], {}
        atexit.register(self.end)
        for _ in range(10):
            # Node i listens at base + 10i and the ports behind; one of them may be taken.
            self.base = random.randrange(20_000, 32_000)
            where = os.path.join(self.folder, str(self.base))
            command = [tidegate, "local", "--port", str(self.base), "--dir", where]
            with open(where + ".log", "w") as log:
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
            if process.stdout.readline().startswith("ready "):
                self.where = where
                self.started.append(process)
                return
            process.kill()
            process.wait()
        raise AssertionError("no cluster was started")

    def address(self, node):
        return f"127.0.0.1:{self.port(node)}"

    def port(self, node):
        return self.base + 10 * node

    def all(self):
        return ",".join(self.address(node) for node in (1, 2, 3))

    def leader_of(self, key):
        """The node that leads a key's shard, as node-1 knows it."""
        client = redis.Redis(port=self.port(1) + 5)
        slot = client.execute_command("CLUSTER KEYSLOT", key)
        ranges = client.execute_command("CLUSTER SLOTS")
        ports = [leader[1] for first, last, leader, *_ in ranges if first <= slot <= last]
        return (ports[0] - 5 - self.base) // 10 if ports else None

    def key_led_by(self, node):
        """A name for a key that the node leads."""
        return until("a key", lambda: next((f"k{n}" for n in range(100) if self.leader_of(f"k{n}") == node), None))

    def kill(self, node):
        if node in self.again:
            pid = self.again[node].pid
        else:
            with open(f"{self.where}/node-{node}/pid") as file:
                pid = int(file.read())
        os.kill(pid, signal.SIGKILL)
        until("its end", lambda: is_gone(pid))
        print(f"node-{node} is killed", flush=True)

    def restart(self, node):
        command = [self.tidegate, "server", "--config", f"{self.where}/node-{node}/node.toml"]
        with open(f"{self.where}/node-{node}/log", "a") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.started.append(process)
        self.again[node] = process
        line = process.stdout.readline()
        assert line.startswith("ready "), line

    def end(self):
        for process in self.started:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(") ", 1)[1].startswith("Z")
    except FileNotFoundError:
        return True


def until(what, condition, seconds=60):
    """Waits for a condition; gives its value."""
    late = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < late, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Crowd:
    """Threads that take one lock in turn. `section(number, work)` of each takes it, calls `work(until)` with the time until which the
    lock is held by the thread's own clock, and gives it back; what it raises is counted, and the thread goes on."""

    def __init__(self, sections):
        self.guard, self.inside, self.errors, self.stopping = threading.Lock(), {}, {}, False
        self.done, self.together = [0] * len(sections), []
        self.threads = [threading.Thread(target=self._run, args=one, daemon=True) for one in enumerate(sections)]
        for thread in self.threads:
            thread.start()

    def _run(self, number, section):
        while not self.stopping:
            try:
                section(lambda until: self._work(number, until))
            except Exception as error:
                with self.guard:
                    name = f"{type(error).__name__} {str(error).split(' ')[0]}"
                    self.errors[name] = self.errors.get(name, 0) + 1
                time.sleep(0.02)

    def _work(self, number, until):
        with self.guard:
            now = time.monotonic()
            # Whose time was over while it was here is no proof against the lock, but against working without a fence.
            if now < until and any(now < end for end in self.inside.values()):
                self.together.append((number, dict(self.inside)))
            self.inside[number] = until
        time.sleep(random.uniform(0, 0.004))
        with self.guard:
            del self.inside[number]
            self.done[number] += 1

    def all_did(self, count):
        """Waits until each has been inside so often again."""
        before = list(self.done)
        until(f"{count} sections of each: {self.done} {self.errors}", lambda: all(now - was >= count for now, was in zip(self.done, before)))

    def end(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()
        check(self.together, [], "two were inside at once")
        print(f"sections {self.done}, errors {self.errors}", flush=True)


def through_deaths(cluster, key, sections, count=15):
    """The crowd of node-1's clients at work, through the death and the return of two nodes: of the one that leads the lock's key, if
    that isn't node-1."""
    crowd = Crowd(sections)
    crowd.all_did(count)
    for other in (3, 2):
        victim = cluster.leader_of(key)
        victim = victim if victim in (2, 3) else other
        cluster.kill(victim)
        crowd.all_did(count)
        cluster.restart(victim)
        crowd.all_did(count)
    crowd.end()
