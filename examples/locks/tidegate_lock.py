"""Locks of Tidegate for programs in Python, kept for as long as they are needed: `pip install redis`, and this file.

    lock = Lock(Nodes("127.0.0.1:7010,127.0.0.1:7020,127.0.0.1:7030"), "report")
    if lock.acquire(wait_ms=60_000):
        total = lock.read("GET", "total")               # the first fenced command shuts former holders out of the key's shard
        lock.write("SET", "total", int(total or 0) + 1)
        lock.release()

A thread renews the lock; `lock.holds()` tells whether it is held, by the holder's own clock. That is a hint: what keeps a late holder
from writing is the fence, so write by `write`. docs/locks.md tells the rest."""

import os
import threading
import time
import uuid

import redis


class Lost(Exception):
    """The lock has, or may have, another holder: stop what it protected."""


class Nodes:
    """The nodes of a cluster. Any of them takes any command; where one doesn't answer, the next is asked."""

    def __init__(self, addresses=None):
        addresses = addresses or os.environ.get("TIDEGATE", "127.0.0.1:6379")
        self.addresses = [address.rsplit(":", 1) for address in addresses.split(",")]
        self.at, self.local = 0, threading.local()

    def client(self, wait_s=0.0):
        """A connection of this thread to the node that answered last; who waits gives it the time."""
        known = getattr(self.local, "known", {})
        self.local.known = known
        key = (self.at, wait_s > 0)
        if key not in known:
            host, port = self.addresses[self.at]
            known[key] = redis.Redis(host=host, port=int(port), socket_timeout=wait_s + 3, socket_connect_timeout=1)
        return known[key]

    def call(self, *words, wait_s=0.0, tries=30):
        """One command, asked until its outcome is known; so it must be one that may be asked twice."""
        for left in reversed(range(tries)):
            try:
                return self.client(wait_s).execute_command(*words)
            except (redis.ConnectionError, redis.TimeoutError):
                self.at = (self.at + 1) % len(self.addresses)
                if not left:
                    raise
            except redis.ResponseError as error:
                code = str(error).split(" ")[0]
                if code not in ("UNKNOWN", "INDOUBT", "NOQUORUM", "TRYAGAIN", "OVERLOADED") or not left:
                    raise
            time.sleep(0.1)


class Lock:
    """One lock, and at most one grant of it."""

    def __init__(self, nodes, name, ttl_ms=10_000, owner=None):
        self.nodes, self.name, self.ttl_ms = nodes, name, ttl_ms
        # Another process of the same name must not take over this one's grant.
        self.owner = f"{owner or os.uname().nodename}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.token = self.fence = None
        self.until = 0.0
        self.ended = threading.Event()
        self.client, self.writes = uuid.uuid4().hex, 0

    def acquire(self, wait_ms=0, fencing=()):
        """True once it is held. With `fencing`, the shards of these keys refuse all former holders by then."""
        words = ["LOCK.ACQUIRE", self.name, self.owner, self.ttl_ms, "ID", uuid.uuid4().hex]
        words += ["WAIT", wait_ms] if wait_ms else []
        words += ["FENCING", *fencing] if fencing else []
        begun = time.monotonic()
        grant = self.nodes.call(*words, wait_s=wait_ms / 1000)
        if grant is None:
            return False
        self.token, self.fence, left_ms = grant
        self.until = begun + left_ms / 1000
        self.ended = threading.Event()
        try:
            # A grant that was waited for has no time of its own yet.
            if not left_ms:
                self.renew()
        except Lost:
            return False
        threading.Thread(target=self._keep, args=(self.ended,), daemon=True).start()
        return True

    def holds(self):
        """Whether it is held, by this process' own clock."""
        return not self.ended.is_set() and time.monotonic() < self.until

    def renew(self):
        begun = time.monotonic()
        try:
            left_ms = self.nodes.call("LOCK.RENEW", self.name, self.owner, self.token, self.ttl_ms)
        except redis.ResponseError as error:
            self.ended.set()
            raise Lost(str(error)) from None
        self.until = begun + left_ms / 1000

    def read(self, *words):
        """A read under the lock's fence."""
        return self._fenced(*words)

    def write(self, *words):
        """A write under the lock's fence. Its id makes it safe to be asked again, and a copy of it that a paused node sends later harmless."""
        self.writes += 1
        return self._fenced(*words, once=("ONCE", f"{self.client}:{self.writes}"))

    def _fenced(self, *words, once=()):
        try:
            return self.nodes.call(*once, "FENCE", self.name, self.fence, *words)
        except redis.ResponseError as error:
            if str(error).startswith("FENCED"):
                self.ended.set()
                raise Lost(str(error)) from None
            raise

    def release(self):
        """Gives it back; nothing happens if it is lost already."""
        self.ended.set()
        try:
            self.nodes.call("LOCK.RELEASE", self.name, self.owner, self.token)
        except redis.ResponseError:
            pass

    def _keep(self, ended):
        while not ended.wait(self.ttl_ms / 3000):
            try:
                self.renew()
            except Lost:
                return
            except redis.RedisError:
                # The next turn asks again; `holds` knows when the time is over.
                pass
