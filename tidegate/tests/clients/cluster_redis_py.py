"""redis-py's RedisCluster against the cluster endpoint, unmodified: writes and reads until stdin ends, while somebody kills
nodes; then every acknowledged write must be there. Prints what it met, for people.
Usage: cluster_redis_py.py PORT.. < (a pipe that is closed when it is enough)"""

import sys
import threading
import time

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException, RedisError

WRITERS = 6
NODES = [ClusterNode("127.0.0.1", int(port)) for port in sys.argv[1:]]


def connect(**options):
    return RedisCluster(startup_nodes=NODES, socket_timeout=5, decode_responses=True, **options)


class Writer(threading.Thread):
    """Counts a key of its own up: what it was told is written must be there at the end."""

    def __init__(self, number, stop):
        super().__init__()
        self.key, self.stop, self.client = f"py:{number}", stop, connect()
        self.sent = self.acknowledged = self.since_error = 0
        self.errors, self.worst, self.failure = {}, 0.0, None

    def run(self):
        last = time.monotonic()
        while not self.stop.is_set():
            self.sent += 1
            try:
                assert self.client.set(self.key, self.sent)
                self.acknowledged = self.sent
                now = time.monotonic()
                self.worst, last = max(self.worst, now - last), now
                self.since_error += 1
                found = int(self.client.get(self.key))
                if found != self.sent:
                    self.failure = f"{self.key} is {found} right after {self.sent} was written"
                    return
            except (RedisError, RedisClusterException) as error:
                name = f"{type(error).__name__} {str(error).split(' ')[0]}"
                self.errors[name] = self.errors.get(name, 0) + 1
                self.since_error = 0
                time.sleep(0.02)


def shapes():
    masters = RedisCluster.PRIMARIES
    for protocol in (2, 3):
        client = connect(protocol=protocol)
        assert client.ping(target_nodes=RedisCluster.ALL_NODES)
        assert client.cluster_info(target_nodes=RedisCluster.DEFAULT_NODE)["cluster_state"] == "ok"
        nodes = client.cluster_nodes()
        assert len(nodes) == len(NODES) and all(node["connected"] for node in nodes.values()), nodes
        for n in range(100):
            client.set(f"shape:{n}", n)
        assert [int(client.get(f"shape:{n}")) for n in range(100)] == list(range(100))
        assert client.mget_nonatomic(*(f"shape:{n}" for n in range(100))) == [str(n) for n in range(100)]
        assert client.dbsize(target_nodes=masters) == 100
        assert sorted(client.scan_iter(match="shape:*", count=7)) == sorted(f"shape:{n}" for n in range(100))
        assert len(client.keys("shape:*", target_nodes=masters)) == 100
        with client.pipeline() as pipeline:
            for n in range(50):
                pipeline.incr(f"shape:{n}")
            assert pipeline.execute() == [n + 1 for n in range(50)]
        assert client.cluster_keyslot("foo") == 12182
        assert client.cluster_countkeysinslot(client.cluster_keyslot("shape:1")) >= 1
        slots = client.cluster_slots()
        assert min(first for first, _ in slots) == 0 and max(last for _, last in slots) == 16383, slots
        assert len(client.cluster_shards()) == 8
        replicas = connect(protocol=protocol, read_from_replicas=True)
        assert replicas.get("shape:60") == "60"
        assert client.flushall(target_nodes=masters) and client.dbsize(target_nodes=masters) == 0


def main():
    shapes()
    stop = threading.Event()
    writers = [Writer(number, stop) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    print("started", flush=True)
    sys.stdin.read()
    stop.set()
    for writer in writers:
        writer.join()
    client, errors = connect(), {}
    for writer in writers:
        assert writer.failure is None, writer.failure
        found = int(client.get(writer.key))
        assert writer.acknowledged <= found <= writer.sent, (writer.key, writer.acknowledged, found, writer.sent)
        assert writer.since_error >= 50, f"{writer.key} did not recover: {writer.since_error} after {writer.errors}"
        for name, count in writer.errors.items():
            errors[name] = errors.get(name, 0) + count
    total = sum(writer.acknowledged for writer in writers)
    worst = max(writer.worst for writer in writers)
    print(f"redis-py: {total} writes acknowledged, none lost; the worst writer waited {worst:.3f} s; errors: {errors}")


main()
