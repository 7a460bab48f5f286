"""Clients of locks through the death of nodes; bench/locks-death.sh says what is measured."""

import argparse
import os
import selectors
import shutil
import signal
import socket
import statistics
import tempfile
import time

from local import PORT, cluster, words

PER_NODE = 24


class Client:
    """One connection, one lock name: acquire, release, and again; what fails is sent again at once."""

    def __init__(self, at, number):
        self.name = b"death:%d:%d" % (os.getpid(), number)
        self.owner = b"o%d" % number
        self.sock = socket.create_connection(("127.0.0.1", at))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.buffer = b""
        self.serial = 0
        self.cycles = []
        self.errors = {}
        self.acquire()

    def acquire(self):
        self.token = None
        self.serial += 1
        self.retry()

    def retry(self):
        if self.token is None:
            ident = b"%d" % self.serial
            self.sock.send(words(b"LOCK.ACQUIRE", self.name, self.owner, b"30000", b"ID", ident))
        else:
            self.sock.send(words(b"LOCK.RELEASE", self.name, self.owner, self.token))

    def readable(self, now):
        got = self.sock.recv(4096)
        if not got:
            raise SystemExit("a surviving node has closed a connection")
        self.buffer += got
        if not self.buffer.endswith(b"\r\n"):
            return
        if self.buffer[:1] == b"*" and self.buffer[:2] != b"*-":
            if self.buffer.count(b"\r\n") < 4:
                return
            self.token = self.buffer.split(b"\r\n")[1][1:]
            self.buffer = b""
            self.retry()
        elif self.buffer[:1] == b":":
            self.buffer = b""
            self.cycles.append(now)
            self.acquire()
        else:
            code = self.buffer.split(b" ")[0].strip()
            self.errors[code] = self.errors.get(code, 0) + 1
            self.buffer = b""
            self.retry()


def pid(folder, node):
    return int(open(os.path.join(folder, "c", f"node-{node}", "pid")).read())


def run(nodes, how, victims):
    folder = tempfile.mkdtemp(prefix="tidegate-death.")
    process = cluster(nodes, folder)
    try:
        return measure(nodes, how, victims, folder)
    finally:
        for victim in victims:
            try:
                os.kill(pid(folder, victim), signal.SIGCONT)
            except ProcessLookupError:
                pass
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def measure(nodes, how, victims, folder):
    survivors = [node for node in range(1, nodes + 1) if node not in victims]
    select = selectors.DefaultSelector()
    clients = []
    for node in survivors:
        for _ in range(PER_NODE):
            client = Client(PORT + 10 * node, len(clients))
            clients.append(client)
            select.register(client.sock, selectors.EVENT_READ, client)
    begun = time.monotonic()
    happened = None
    while True:
        now = time.monotonic()
        if happened is None and now >= begun + 2:
            for victim in victims:
                os.kill(pid(folder, victim), signal.SIGKILL if how == "kill" else signal.SIGSTOP)
            happened = now
        if happened is not None and now >= happened + 2.5:
            break
        for key, _ in select.select(0.01):
            key.data.readable(time.monotonic())
    worst, before, after = 0.0, 0.0, []
    for client in clients:
        times = client.cycles + [now]
        gaps = [(later - sooner, sooner) for sooner, later in zip(times, times[1:])]
        gap = max(g for g, sooner in gaps if sooner > happened - 0.5)
        before = max([before] + [g for g, sooner in gaps if begun + 0.5 < sooner < happened - 0.5])
        after.append(gap)
        worst = max(worst, gap)
        client.sock.close()
    cycles = sum(len(client.cycles) for client in clients)
    errors = {}
    for client in clients:
        for code, count in client.errors.items():
            errors[code.decode()] = errors.get(code.decode(), 0) + count
    print(
        f"{nodes} nodes, {how} {victims}: worst {worst * 1000:.0f} ms, median client {statistics.median(after) * 1000:.0f} ms, "
        f"before it {before * 1000:.0f} ms, {cycles} cycles, errors {errors}",
        flush=True,
    )
    return worst * 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--cases", default="3kill,3stop,5kill,5stop")
    options = parser.parse_args()
    for case in options.cases.split(","):
        nodes, how = int(case[0]), case[1:]
        gaps = []
        for number in range(options.runs):
            first = number % nodes + 1
            victims = [first] if nodes == 3 else [first, first % nodes + 1]
            gaps.append(run(nodes, how, victims))
        shown = sorted(round(gap) for gap in gaps)
        print(f"{case}: the worst client's gap: median {statistics.median(gaps):.0f} ms, worst {max(gaps):.0f} ms, of {shown}")


main()
