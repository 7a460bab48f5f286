"""The jobs that rq_test.py enqueues. Where the server is comes by TIDEGATE (host:port)."""

import os
import time

import redis

effects = redis.Redis.from_url(f"redis://{os.environ['TIDEGATE']}/0", decode_responses=True, socket_timeout=None)
prefix = os.environ.get("RQ_KEY_PREFIX", "rq")


def key(name):
    return f"{prefix}:effects:{name}"


def add(a, b):
    effects.hincrby(key("ran"), f"{a}+{b}", 1)
    return a + b


def note(name, value):
    effects.rpush(key(name), value)
    return value


def clock(name):
    effects.rpush(key(name), time.time())


def third(name):
    """Fails twice."""
    effects.rpush(key(name), time.time())
    if effects.llen(key(name)) < 3:
        raise ValueError("not yet")
    return "third"


def broken():
    if not effects.exists(key("mended")):
        raise ValueError("broken")
    return "mended"


def slow():
    """The first time it runs until its process is killed; when it comes again, it says so."""
    if effects.incr(key("slow")) > 1:
        return "saved"
    effects.lpush(key("slow:began"), 1)
    time.sleep(60)
    return "not killed"


def stopped():
    effects.lpush(key("stopped:began"), 1)
    time.sleep(60)


def on_success(job, connection, result):
    connection.rpush(key("callbacks"), f"success {result}")


def on_failure(job, connection, kind, value, traceback):
    connection.rpush(key("callbacks"), f"failure {value}")
