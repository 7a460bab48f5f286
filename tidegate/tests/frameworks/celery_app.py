"""The application whose tasks celery_test.py calls. Where the server is comes by TIDEGATE (host:port, several by commas); a
prefix for all keys by PREFIX, which has a hash tag on a cluster."""

import os
import time

import celery
import redis

addresses = os.environ["TIDEGATE"].split(",")
prefix = os.environ.get("PREFIX", "")
options = {"visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1, "socket_timeout": 10}
if prefix:
    options["global_keyprefix"] = prefix

app = celery.Celery("celery_app")
app.conf.update(
    # Several brokers: the next one is tried when one doesn't answer.
    broker_url=[f"redis://{address}/0" for address in addresses],
    broker_transport_options=options,
    broker_connection_retry_on_startup=True,
    result_backend=f"redis://{addresses[0]}/1",
    result_backend_transport_options={"global_keyprefix": prefix} if prefix else {},
    result_extended=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
)
effects = redis.Redis.from_url(f"redis://{addresses[0]}/2", decode_responses=True, socket_timeout=None)


# A task whose own commands are answered by an error, as when a node dies, is tried again.
again = {"autoretry_for": (redis.RedisError,), "retry_kwargs": {"max_retries": 10, "countdown": 0.2}}


@app.task(acks_late=True, **again)
def add(a, b):
    effects.hincrby(f"{prefix}ran", f"{a}+{b}", 1)
    return a + b


@app.task(acks_late=True, **again)
def total(numbers):
    effects.incr(f"{prefix}totals")
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def third(self, name):
    """Fails twice, then says how often it was tried."""
    effects.rpush(f"{prefix}third:{name}", time.time())
    if self.request.retries < 2:
        raise self.retry(countdown=0.3 * (self.request.retries + 1))
    return self.request.retries


@app.task(autoretry_for=(KeyError,), retry_kwargs={"max_retries": 2, "countdown": 0.1})
def broken(name):
    effects.incr(f"{prefix}broken:{name}")
    raise KeyError(name)


@app.task
def fails():
    raise ValueError("no use")


@app.task
def when():
    return time.time()


@app.task
def note(text):
    effects.rpush(f"{prefix}notes", text)
    return len(text)


@app.task(bind=True)
def told(self, steps):
    for step in range(steps):
        self.update_state(state="PROGRESS", meta={"step": step})
        effects.blpop(f"{prefix}told:go")
    return steps


@app.task(acks_late=True, reject_on_worker_lost=True)
def slow(name):
    """The first time it runs until its process is killed; when it comes again, it says so."""
    if effects.incr(f"{prefix}slow:{name}") > 1:
        return "saved"
    effects.lpush(f"{prefix}slow:began", name)
    time.sleep(60)
    return "not killed"
