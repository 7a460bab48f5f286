"""redis-py's asyncio client on three nodes of which one is killed: queues with blocking pops, a stream's group, counters by WATCH, and
locks. Usage: redis_asyncio_cluster.py TAG PORTS"""

import asyncio
import sys

import redis as package
import redis.asyncio as redis
from redis.exceptions import LockError, RedisError, WatchError
from support import Death, check, ends_within, passed

tag, ports = sys.argv[1], [int(port) for port in sys.argv[2].split(",")]
death = Death()


def client(n):
    return redis.Redis(port=ports[n % 2], protocol=3, decode_responses=True, socket_timeout=None)


async def insist(call):
    for _ in range(1000):
        try:
            return await call()
        except RedisError as error:
            death.met(error)
            last = error
            await asyncio.sleep(0.02)
    raise last


async def queue():
    """By BLMOVE to a list of what is being done: nothing that was pushed is lost, whatever answer is."""
    producer, consumers = client(0), [client(n) for n in range(3)]
    pushed, done, over = set(), {}, asyncio.Event()

    async def consume(n):
        own = f"{tag}:doing:{n}"
        while not over.is_set() or set(pushed) - set(done):
            try:
                # What an answer in doubt has moved is found in the own list.
                for item in await consumers[n].lrange(own, 0, -1):
                    done[item] = done.get(item, 0) + 1
                    await consumers[n].lrem(own, 1, item)
                await consumers[n].blmove(f"{tag}:queue", own, timeout=0.2)
            except RedisError as error:
                death.met(error)

    async def produce():
        n = after = 0
        while after < 100:
            item = str(n)
            await insist(lambda: producer.lpush(f"{tag}:queue", item))
            pushed.add(item)
            n += 1
            after += death.is_over.is_set()
            if n == 100:
                death.half()
        over.set()

    async with asyncio.timeout(60):
        await asyncio.gather(produce(), *(consume(n) for n in range(3)))
    check(pushed - set(done), set())


async def counters():
    """By WATCH, read and EXEC: what was answered is counted, what was in doubt at most once."""
    one, two = client(0), client(1)
    acknowledged = doubtful = after = 0
    key = f"{tag}:count"
    while after < 50:
        after += death.is_over.is_set()
        for r in (one, two):
            async with r.pipeline() as pipe:
                try:
                    await pipe.watch(key)
                    seen = int(await pipe.get(key) or 0)
                    pipe.multi()
                    pipe.set(key, seen + 1)
                except RedisError as error:
                    death.met(error)
                    continue
                try:
                    await pipe.execute()
                    acknowledged += 1
                except WatchError:
                    pass
                except RedisError as error:
                    death.met(error)
                    doubtful += 1
    found = int(await insist(lambda: one.get(key)))
    check(acknowledged <= found <= acknowledged + doubtful, True, f"{acknowledged} {found} {doubtful}")


async def locks():
    """Never two holders; the lock is had again after the death."""
    holders = had = after = 0

    async def worker(n):
        nonlocal holders, had, after
        r = client(n)
        while after < 10:
            own = r.lock(f"{tag}:lock", timeout=3, sleep=0.01, blocking_timeout=1)
            try:
                if not await own.acquire():
                    continue
            except RedisError as error:
                death.met(error)
                continue
            holders += 1
            assert holders == 1, f"{holders} hold the lock"
            await asyncio.sleep(0.005)
            had, after, holders = had + 1, after + death.is_over.is_set(), holders - 1
            try:
                await own.release()
            except (RedisError, LockError) as error:
                death.met(error)

    async with asyncio.timeout(60):
        await asyncio.gather(*(worker(n) for n in range(6)))
    check(had >= 10, True)


async def main():
    await asyncio.gather(queue(), counters(), locks())


ends_within(90)
asyncio.run(main())
passed(f"redis-py {package.__version__} asyncio on a cluster, errors met {death.errors}")
