"""What many names of locks take in memory, and when it comes back; bench/locks-names.sh says what is measured."""

import argparse
import os
import shutil
import socket
import tempfile
import threading
import time

from local import PORT, cluster, words

CLIENTS = 8
BATCH = 50


def read_lines(file, count):
    return [file.readline() for _ in range(count)]


def use(port, first, names):
    """Acquires and gives back so many names, each once, some hundreds in flight."""
    sock = socket.create_connection(("127.0.0.1", port))
    file = sock.makefile("rb", 1 << 20)
    for begin in range(first, first + names, BATCH):
        batch = [b"order:%09d" % n for n in range(begin, min(begin + BATCH, first + names))]
        sock.sendall(b"".join(words(b"LOCK.ACQUIRE", name, b"worker", b"30000") for name in batch))
        tokens = []
        for _ in batch:
            head = file.readline()
            if head != b"*3\r\n":
                raise SystemExit(f"not granted: {head}")
            token, _, _ = read_lines(file, 3)
            tokens.append(token[1:-2])
        pairs = zip(batch, tokens)
        sock.sendall(b"".join(words(b"LOCK.RELEASE", name, b"worker", token) for name, token in pairs))
        for line in read_lines(file, len(batch)):
            assert line == b":1\r\n", line


def info(port):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        file = sock.makefile("rb")
        sock.sendall(words(b"INFO", b"everything"))
        text = file.read(int(file.readline()[1:])).decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def resident(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"{pid} has ended")


def measure(nodes, names):
    folder = tempfile.mkdtemp(prefix="tidegate-names-", dir=os.environ.get("DIR"))
    process = cluster(nodes, folder)
    try:
        ports = [PORT + 10 * (at + 1) for at in range(nodes)]
        pids = [int(info(port)["process_id"]) for port in ports]
        for port in ports:
            use(port, 10 ** 8, 100)
        empty = [resident(pid) for pid in pids]
        begun, each = time.monotonic(), names // CLIENTS
        threads = [threading.Thread(target=use, args=(ports[n % nodes], n * each, each)) for n in range(CLIENTS)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        used_names = min(int(info(port)["locks_registers"]) for port in ports)
        if used_names < names:
            raise SystemExit(f"only {used_names} names were used")
        used = time.monotonic() - begun
        full = [resident(pid) for pid in pids]
        kept = [int(info(port)["locks_registers"]) for port in ports]
        print(f"{names:,} names used in {used:.0f} s ({names / used:,.0f} cycles/s); registers: {kept}")
        grown = [(after - before) / names for before, after in zip(empty, full)]
        print("RSS per node, MB: empty " + ", ".join(f"{rss / 1e6:.0f}" for rss in empty) + "; full "
              + ", ".join(f"{rss / 1e6:.0f}" for rss in full) + "; bytes per name " + ", ".join(f"{one:.0f}" for one in grown))
        begun = time.monotonic()
        while True:
            left = [int(info(port)["locks_registers"]) for port in ports]
            if not any(left):
                break
            if time.monotonic() - begun > 900:
                raise SystemExit(f"not swept: {left}")
            time.sleep(1)
        swept = time.monotonic() - begun
        after = [resident(pid) for pid in pids]
        print(f"all forgotten {swept:.0f} s after the last use; RSS, MB: " + ", ".join(f"{rss / 1e6:.0f}" for rss in after))
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--nodes", type=int, default=3)
    options = parser.parse_args()
    measure(options.nodes, options.names)


main()
