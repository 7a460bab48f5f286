"""pymemcache, unmodified, against the memcached endpoint at PORT, with redis-py at RESP_PORT beside it.

Usage: pymemcache_check.py PORT RESP_PORT. Prints how many checks passed; the first that fails ends it.
"""

import sys
import threading

import redis
from pymemcache.client.base import Client, PooledClient
from pymemcache.exceptions import MemcacheIllegalInputError, MemcacheServerError
from pymemcache.serde import pickle_serde

address = ("127.0.0.1", int(sys.argv[1]))
beside = redis.Redis(port=int(sys.argv[2]))
checks = 0


def check(got, wanted):
    global checks
    assert got == wanted and type(got) is type(wanted), f"got {got!r}, expected {wanted!r}"
    checks += 1


client = Client(address, timeout=30, connect_timeout=30)
client.flush_all()
check(client.get("k"), None)
check(client.set("k", b"v", noreply=False), True)
check(client.get("k"), b"v")
check(beside.get("k"), b"v")
check(client.add("k", b"w", noreply=False), False)
check(client.replace("k", b"w", noreply=False), True)
check(client.append("k", b"x", noreply=False), True)
check(client.prepend("k", b"_", noreply=False), True)
check(client.get("k"), b"_wx")
value, cas = client.gets("k")
check(value, b"_wx")
check(client.cas("k", b"new", cas), True)
check(client.cas("k", b"newer", cas), False)
check(client.cas("none", b"newer", cas), None)
check(client.set_many({f"many:{at}": str(at).encode() for at in range(1000)}, noreply=False), [])
check(client.get_many([f"many:{at}" for at in range(1010)]), {f"many:{at}": str(at).encode() for at in range(1000)})
check(len(client.gets_many(["many:1", "many:2", "none"])), 2)
check(client.delete_many([f"many:{at}" for at in range(1000)], noreply=False), True)
check(client.get_many(["many:1", "many:2"]), {})
check(client.delete("k", noreply=False), True)
check(client.delete("k", noreply=False), False)
check(client.set("n", b"10", noreply=False), True)
check(client.incr("n", 5), 15)
check(client.decr("n", 100), 0)
check(client.incr("none", 1), None)
check(client.set("t", b"v", expire=100, noreply=False), True)
check(beside.ttl("t") in (99, 100), True)
check(client.touch("t", 200, noreply=False), True)
check(client.touch("none", 200, noreply=False), False)
check(client.raw_command(b"gat 300 t", end_tokens=b"END\r\n").startswith(b"VALUE t 0 1\r\nv"), True)
check(beside.ttl("t") in (299, 300), True)
check(beside.set("from-redis", "x"), True)
check(client.get("from-redis"), b"x")
check(client.stats()[b"threads"], 1)
check(client.version().startswith(b"1.6."), True)
large = b"x" * (5 << 20)
check(client.set("large", large, noreply=False), True)
check(client.get("large"), large)
beside.rpush("list", 1)
for failing, call in [(MemcacheServerError, lambda: client.get("list")), (MemcacheIllegalInputError, lambda: client.get("k" * 251))]:
    try:
        raise AssertionError(f"{failing.__name__} expected, got {call()!r}")
    except failing:
        checks += 1

# Client flags tell what a value was.
pickling = Client(address, serde=pickle_serde, timeout=30)
for value in [{"a": [1, 2.5, None]}, "text", 42, b"bytes", 1 << 80]:
    check(pickling.set("typed", value, noreply=False), True)
    beside.expire("typed", 1000)
    check(pickling.get("typed"), value)
    check(pickling.get_many(["typed"]), {"typed": value})

# Many clients count together: nothing is lost.
pool = PooledClient(address, max_pool_size=8, timeout=30)
check(pool.set("together", b"0", noreply=False), True)
threads = [threading.Thread(target=lambda: [pool.incr("together", 1) for _ in range(200)]) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
check(pool.get("together"), b"1600")


def compare_and_swap():
    mine = Client(address, timeout=30)
    for _ in range(50):
        while True:
            value, cas = mine.gets("swapped")
            if mine.cas("swapped", str(int(value) + 1).encode(), cas):
                break


check(client.set("swapped", b"0", noreply=False), True)
threads = [threading.Thread(target=compare_and_swap) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
check(client.get("swapped"), b"400")
check(client.flush_all(noreply=False), True)
check(beside.dbsize(), 0)
client.quit()
print(f"pymemcache: {checks} checks passed")
