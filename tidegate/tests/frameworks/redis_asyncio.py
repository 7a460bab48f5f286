"""redis-py's asyncio client, unmodified, over RESP2 and RESP3: pipelines, transactions, pub/sub, locks, streams with groups, blocking
pops. Usage: redis_asyncio.py HOST PORT"""

import asyncio
import sys

import redis as package
import redis.asyncio as redis
from redis.exceptions import LockError, LockNotOwnedError, ResponseError, WatchError
from support import check, ends_within, passed

host, port = sys.argv[1], int(sys.argv[2])
WAIT = 20


def client(protocol, **more):
    return redis.Redis(host=host, port=port, protocol=protocol, decode_responses=True, socket_timeout=None, **more)


async def refuses(kind, text, awaitable):
    try:
        got = await awaitable
    except kind as error:
        check(text in str(error), True, f"{error!r} says {text!r}")
        return
    raise AssertionError(f"{kind.__name__} expected, got {got!r}")


async def waits(r, text):
    """Until a connection is seen that waits like this."""
    async with asyncio.timeout(WAIT):
        while not any(text in f"cmd={one['cmd']} flags={one['flags']}" for one in await r.client_list()):
            await r.ping()


async def pipelines(r):
    async with r.pipeline(transaction=False) as pipe:
        for n in range(1000):
            pipe.set(f"p:{n}", n)
        check(await pipe.execute(), [True] * 1000)
    async with r.pipeline(transaction=True) as pipe:
        got = await pipe.set("n", 1).incr("n").hset("h", mapping={"a": 1}).hgetall("h").sadd("s", "x").smembers("s").execute()
    check(got, [True, 2, 1, {"a": "1"}, 1, {"x"}])
    check(await r.mget([f"p:{n}" for n in range(0, 1000, 100)]), [str(n) for n in range(0, 1000, 100)])
    check(len([key async for key in r.scan_iter("p:*", count=100)]), 1000)
    check(await r.zadd("z", {"a": 1.5, "b": 2}), 2)
    check(await r.zscore("z", "a"), 1.5)
    await refuses(ResponseError, "WRONGTYPE", r.lpush("z", 1))


async def transactions(r):
    """Forty increments by WATCH, read and EXEC, all at once: those that lose try again, and none is lost."""

    async def increment():
        async with r.pipeline() as pipe:
            while True:
                try:
                    await pipe.watch("count")
                    seen = int(await pipe.get("count") or 0)
                    pipe.multi()
                    pipe.set("count", seen + 1)
                    await pipe.execute()
                    return
                except WatchError:
                    await asyncio.sleep(0)

    await asyncio.gather(*(increment() for _ in range(40)))
    check(await r.get("count"), "40")


async def listening(r):
    async with r.pubsub() as pubsub:
        await pubsub.subscribe("a", "b")
        await pubsub.psubscribe("c*")
        for _ in range(3):
            await pubsub.get_message(timeout=WAIT)
        for n in range(100):
            check(await r.publish(["a", "b", "cc"][n % 3], n), 1)
        heard = []
        async with asyncio.timeout(WAIT):
            while len(heard) < 100:
                if message := await pubsub.get_message(ignore_subscribe_messages=True, timeout=1):
                    heard.append((message["type"], message["channel"], message["data"]))
        wanted = [("pmessage" if n % 3 == 2 else "message", ["a", "b", "cc"][n % 3], str(n)) for n in range(100)]
        check(heard, wanted)
        check(await r.pubsub_numsub("a", "none"), [("a", 1), ("none", 0)])
        await pubsub.unsubscribe()
        await pubsub.punsubscribe()


async def locks(r):
    lock = r.lock("lock", timeout=10)
    check(await lock.acquire(), True)
    check(await r.lock("lock").acquire(blocking=False), False)
    check(await lock.extend(5), True)
    check(await lock.reacquire(), True)
    await lock.release()
    await refuses(LockError, "", lock.release())
    stolen = r.lock("lock", timeout=10)
    await stolen.acquire()
    await r.set("lock", "somebody else")
    await refuses(LockNotOwnedError, "", stolen.release())
    await r.delete("lock")

    async def under_lock():
        async with r.lock("guard", timeout=10, sleep=0.01, blocking_timeout=WAIT):
            seen = int(await r.get("guarded") or 0)
            await r.ping()
            await r.set("guarded", seen + 1)

    await asyncio.gather(*(under_lock() for _ in range(20)))
    check(await r.get("guarded"), "20")


async def groups(r):
    """Three consumers of a group read 300 entries, each once; what one left pending another claims."""
    await r.xgroup_create("st", "g", id="0", mkstream=True)
    seen = {}

    async def consume(name):
        while len(seen) < 300:
            for _, entries in pairs(await r.xreadgroup("g", name, {"st": ">"}, count=7, block=200)):
                for id, fields in entries:
                    seen[fields["n"]] = seen.get(fields["n"], 0) + 1
                    if fields["n"] != "13":
                        await r.xack("st", "g", id)

    async def produce():
        for n in range(300):
            await r.xadd("st", {"n": n})

    async with asyncio.timeout(WAIT):
        await asyncio.gather(produce(), *(consume(f"c{n}") for n in range(3)))
    check(seen, {str(n): 1 for n in range(300)})
    pending = await r.xpending("st", "g")
    check(pending["pending"], 1)
    _, claimed, _ = await r.xautoclaim("st", "g", "other", min_idle_time=0)
    check([fields for _, fields in claimed], [{"n": "13"}])
    check((await r.xpending_range("st", "g", "-", "+", 10))[0]["consumer"], "other")
    check((await r.xinfo_groups("st"))[0]["entries-read"], 300)


def pairs(read):
    """What a read of streams gave, of the one shape of RESP2 or the other of RESP3."""
    if isinstance(read, dict):
        return [(name, [entry for part in parts for entry in part]) for name, parts in read.items()]
    return read or []


async def blocking(r):
    pops = [asyncio.create_task(r.blpop(["q:a", "q:b"], timeout=WAIT)) for _ in range(5)]
    await waits(r, "cmd=blpop flags=b")
    for n in range(5):
        await r.rpush("q:a" if n % 2 else "q:b", n)
    check(sorted([tuple(await pop) for pop in pops], key=lambda one: one[1]),
          [("q:a" if n % 2 else "q:b", str(n)) for n in range(5)])
    popped = asyncio.create_task(r.bzpopmin("zq", timeout=WAIT))
    await waits(r, "cmd=bzpopmin flags=b")
    await r.zadd("zq", {"b": 2, "a": 1})
    check(list(await popped), ["zq", "a", 1.0])
    check(await r.blpop("nothing", timeout=0.05), None)
    moved = asyncio.create_task(r.blmove("from", "to", timeout=WAIT))
    await waits(r, "cmd=blmove flags=b")
    await r.lpush("from", "x")
    check(await moved, "x")


async def scripts(r):
    take = r.register_script("local n = redis.call('INCRBY', KEYS[1], ARGV[1]); redis.call('RPUSH', KEYS[2], n); return n")
    check(sorted(await asyncio.gather(*(take(keys=["sn", "sl"], args=[2]) for _ in range(50)))), [2 * n for n in range(1, 51)])
    check(await r.lrange("sl", 0, -1), [str(2 * n) for n in range(1, 51)])
    async with r.pipeline() as pipe:
        await take(keys=["sn", "sl"], args=[1], client=pipe)
        pipe.get("sn")
        check(await pipe.execute(), [101, "101"])
    await r.script_flush()
    check(await take(keys=["sn", "sl"], args=[1]), 102)


async def main():
    for protocol in (2, 3):
        r = client(protocol, max_connections=50)
        await r.flushall()
        for part in (pipelines, transactions, listening, blocking, groups, scripts, locks):
            try:
                async with asyncio.timeout(2 * WAIT):
                    await part(r)
            except BaseException:
                print(f"redis-py asyncio, RESP{protocol}: {part.__name__}", file=sys.stderr)
                raise
        await r.aclose()


ends_within(90)
asyncio.run(main())
passed(f"redis-py {package.__version__} asyncio")
