"""A lock as Redisson makes it: a hash of owners and how often each has entered, with a time to live; scripts enter and leave; who waits
listens to a channel of the lock; a watchdog keeps it. On a cluster, through the death of nodes.
Usage: redisson.py TIDEGATE"""

import sys
import time
import uuid

import redis
from recipes import Cluster, check, ends_within, passed, through_deaths

# KEYS: the lock; ARGV: ms, owner. Nil once it is entered, else how long the holder has.
ENTER = """
local owners = redis.call('hlen', KEYS[1])
if owners == 0 or redis.call('hexists', KEYS[1], ARGV[2]) == 1 then
    redis.call('hincrby', KEYS[1], ARGV[2], 1)
    redis.call('pexpire', KEYS[1], ARGV[1])
    return nil
end
return redis.call('pttl', KEYS[1])
"""
# KEYS: the lock, its channel; ARGV: ms, owner. Nil for a stranger, 0 while it is entered still, 1 when it is free.
LEAVE = """
if redis.call('hexists', KEYS[1], ARGV[2]) == 0 then return nil end
if redis.call('hincrby', KEYS[1], ARGV[2], -1) > 0 then
    redis.call('pexpire', KEYS[1], ARGV[1])
    return 0
end
redis.call('del', KEYS[1])
redis.call('publish', KEYS[2], 'free')
return 1
"""
KEEP = """
if redis.call('hexists', KEYS[1], ARGV[2]) == 0 then return 0 end
return redis.call('pexpire', KEYS[1], ARGV[1])
"""


class RLock:
    def __init__(self, client, name, lease_ms=4_000):
        self.client, self.name, self.lease_ms = client, name, lease_ms
        self.channel, self.owner = f"redisson_lock__channel:{{{name}}}", f"{uuid.uuid4()}:1"
        self.enter_script, self.leave_script, self.keep_script = map(client.register_script, (ENTER, LEAVE, KEEP))

    def enter(self):
        return self.enter_script(keys=[self.name], args=[self.lease_ms, self.owner])

    def leave(self):
        return self.leave_script(keys=[self.name, self.channel], args=[self.lease_ms, self.owner])

    def keep(self):
        return self.keep_script(keys=[self.name], args=[self.lease_ms, self.owner])

    def lock(self, wait_s):
        """Until when it is held by the own clock; nothing if it isn't."""
        late = time.monotonic() + wait_s
        begun = time.monotonic()
        if self.enter() is None:
            return begun + self.lease_ms / 1000
        with self.client.pubsub() as listener:
            listener.subscribe(self.channel)
            while time.monotonic() < late:
                begun = time.monotonic()
                left_ms = self.enter()
                if left_ms is None:
                    return begun + self.lease_ms / 1000
                # A message may be lost with its node: the holder's time ends the wait, too.
                listener.get_message(ignore_subscribe_messages=True, timeout=min(max(left_ms, 1) / 1000, 0.25))
        return None


ends_within(300)
cluster = Cluster(sys.argv[1])
one, other = (RLock(redis.Redis(port=cluster.port(node)), "l") for node in (1, 2))
check(one.enter(), None)
check(one.enter(), None, "it may be entered again")
check(0 < other.enter() <= 4_000, True)
check(other.leave(), None, "a stranger gives nothing back")
check(one.keep(), 1)
check(other.keep(), 0)
check(one.leave(), 0)
with other.client.pubsub() as listener:
    listener.subscribe(other.channel)
    check(listener.get_message(timeout=5)["type"], "subscribe")
    check(one.leave(), 1)
    check(listener.get_message(timeout=5)["data"], b"free", "those who wait on any node are told")
check(other.enter(), None)
name = cluster.key_led_by(3)


def section(node):
    client = redis.Redis(port=cluster.port(node))

    def run(work):
        lock = RLock(client, name)
        until = lock.lock(10)
        if until:
            try:
                work(until)
            finally:
                lock.leave()

    return run


through_deaths(cluster, name, [section(1) for _ in range(4)])
passed("a lock like Redisson's")
