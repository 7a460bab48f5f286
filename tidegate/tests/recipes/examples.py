"""The examples of locks (examples/locks) as they stand, on a cluster, through kill -9 of processes and nodes, and through SIGSTOP.
Usage: examples.py TIDEGATE"""

import os
import queue
import re
import signal
import subprocess
import sys
import threading

import redis
from recipes import Cluster, check, ends_within, kill, passed, until

ends_within(300)
cluster = Cluster(sys.argv[1])
where = os.path.join(os.path.dirname(__file__), "..", "..", "..", "examples", "locks")


class Program:
    """A running example, and what it says."""

    def __init__(self, name, *words):
        command = [sys.executable, os.path.join(where, name), *words]
        environment = dict(os.environ, TIDEGATE=cluster.all())
        # Its children end with it.
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.lines, self.said = queue.Queue(), []
        threading.Thread(target=self._listen, daemon=True).start()
        running.append(self)

    def _listen(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def says(self, pattern, seconds=60):
        """Waits until it says this; gives the match."""
        while True:
            try:
                line = self.lines.get(timeout=seconds)
            except queue.Empty:
                raise AssertionError(f"it never says {pattern}, but {self.said}") from None
            self.said.append(line)
            match = re.fullmatch(pattern, line)
            if match:
                return match

    def signal(self, what):
        os.killpg(self.process.pid, what)

    def kill(self):
        kill(self.process)


running = []


def client(node=1):
    return redis.Redis(port=cluster.port(node), socket_timeout=10)


def number(*words):
    return int(client().execute_command(*words) or 0)


def one_leads():
    leaders = {name: Program("leader.py", name) for name in ("ada", "bob", "eve")}
    until("a leader", lambda: client().hget("election", "leader"))
    first = client().hget("election", "leader").decode()
    fence = int(leaders[first].says(f"{first} leads under fence (\\d+)")[1])
    others = [name for name in leaders if name != first]
    leaders[first].kill()
    until("another leads", lambda: client().hget("election", "leader").decode() in others)
    second = client().hget("election", "leader").decode()
    after = int(leaders[second].says(f"{second} leads under fence (\\d+)")[1])
    check(after > fence, True)
    # A node dies: whoever leads then goes on, and beats.
    cluster.kill(3)
    beat = number("HGET", "election", "beat")
    until("beats without node-3", lambda: number("HGET", "election", "beat") > beat + 10)
    cluster.restart(3)
    # The leader stands still; when it wakes up it finds another, and follows.
    paused = client().hget("election", "leader").decode()
    leaders[paused].signal(signal.SIGSTOP)
    until("another leads", lambda: client().hget("election", "leader").decode() != paused)
    leaders[paused].signal(signal.SIGCONT)
    leaders[paused].says(f"{paused} follows")
    beats = [number("HGET", "election", "beat")]
    until("many beats", lambda: beats.append(number("HGET", "election", "beat")) or beats[-1] > beats[0] + 10)
    check(beats, sorted(beats), "nobody writes over the leader's")


def a_job_runs_once():
    count = ["redis-cli", "-p", str(cluster.port(1)), "INCR", "runs"]
    jobs = [Program("cron.py", "report", "03:00", *count) for _ in range(5)]
    ends = [job.says("done here|it was done before")[0] for job in jobs]
    check(sorted(ends), ["done here"] + ["it was done before"] * 4)
    check(number("GET", "runs"), 1)
    # One that dies at its work leaves it to the next.
    dying = Program("cron.py", "report", "03:05", "sleep", "600")
    until("it works", lambda: client().execute_command("LOCK.LIST", "MATCH", "cron:*"))
    dying.kill()
    Program("cron.py", "report", "03:05", *count).says("done here")
    check(number("GET", "runs"), 2)


def a_room_moves():
    first = Program("rooms.py", "east", "7", "8")
    first.says("east has room 7 at tick 0|east has room 8 at tick 0")
    until("ticks", lambda: number("HGET", "{room:7}", "tick") > 5)
    second = Program("rooms.py", "west", "7", "8")
    first.signal(signal.SIGSTOP)
    tick = int(second.says("west has room 7 at tick (\\d+)")[1])
    check(tick >= 5, True, "it begins where the other was")
    until("it ticks", lambda: number("HGET", "{room:7}", "tick") > tick + 5)
    first.signal(signal.SIGCONT)
    first.says("east has lost room [78]")
    check(client().hget("{room:7}", "server"), b"west")
    # Its node dies; the rooms stay where they are.
    cluster.kill(2)
    tick = number("HGET", "{room:7}", "tick")
    until("it ticks without node-2", lambda: number("HGET", "{room:7}", "tick") > tick + 10)
    cluster.restart(2)


def a_late_write_is_refused():
    writers = [Program("fenced_writer.py", f"w{n}", "40") for n in range(3)]
    # Standing still in the middle of whatever it does, past its time.
    for writer in writers[:2]:
        until("it writes", lambda: number("GET", "total") > 0)
        writer.signal(signal.SIGSTOP)
        total = number("GET", "total")
        until("others go on", lambda: number("GET", "total") > total + 2)
        writer.signal(signal.SIGCONT)
    cluster.kill(3)
    for n, writer in enumerate(writers):
        writer.says(f"w{n} has added 40", seconds=120)
    cluster.restart(3)
    check(number("GET", "total"), 120)


for test in (one_leads, a_job_runs_once, a_room_moves, a_late_write_is_refused):
    try:
        test()
    finally:
        for program in running:
            program.kill()
        running.clear()
    print(test.__name__, flush=True)
passed("examples of locks")
