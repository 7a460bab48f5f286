"""Tasks by Celery on Tidegate: `pip install 'celery[redis]'`, then here

    celery -A celery_tasks worker &
    python celery_tasks.py

TIDEGATE names the nodes' RESP ports. docs/jobs.md tells the rest."""

import os

from celery import Celery, chord

nodes = os.environ.get("TIDEGATE", "127.0.0.1:6379").split(",")
# The braces keep all keys in one shard, which transactions over several keys need on several nodes.
keys = {"global_keyprefix": "{shop}:"}

app = Celery("celery_tasks")
app.conf.update(
    # A worker whose broker goes away tries the next.
    broker_url=[f"redis://{node}/0" for node in nodes],
    # What a lost worker had taken comes again after this many seconds: more than the longest task, or than its countdown.
    broker_transport_options={**keys, "visibility_timeout": 600, "socket_timeout": 30},
    broker_connection_retry_on_startup=True,
    result_backend=f"redis://{nodes[0]}/0",
    result_backend_transport_options=keys,
    # Acknowledged when it is done, not when it is begun: at least once instead of at most once.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
)


@app.task(autoretry_for=(ConnectionError,), retry_backoff=True, max_retries=5)
def price(item):
    return len(item) * 100


@app.task
def total(prices):
    return sum(prices)


if __name__ == "__main__":
    print("one:", price.delay("tea").get(timeout=30))
    print("in a second:", price.apply_async(("coffee",), countdown=1).get(timeout=30))
    print("all:", chord([price.s(item) for item in ("tea", "milk", "sugar")], total.s()).apply_async().get(timeout=30))
