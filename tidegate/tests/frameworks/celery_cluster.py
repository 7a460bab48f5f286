"""Celery on three nodes of which the one that leads its keys is killed: each task that was sent is done and has its
result, but for those that were just between a worker's two commands. Workers and producer know the other two; a worker that ends by an error is started again, as under a supervisor. Usage: celery_cluster.py TAG PORTS"""

import os
import sys
import tempfile
import uuid

from support import Death, Supervised, check, ends_within, passed

tag, ports = sys.argv[1], sys.argv[2].split(",")
os.environ["PREFIX"] = f"{tag}:"
os.environ["TIDEGATE"] = ",".join(f"127.0.0.1:{port}" for port in ports)
os.chdir(os.path.dirname(os.path.abspath(__file__)))

import celery  # noqa: E402
import celery.exceptions  # noqa: E402
from celery import chord  # noqa: E402
from celery_app import add, effects, prefix, total  # noqa: E402

log = tempfile.TemporaryFile()


def worker(name):
    command = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-n", name, "-l", "info", "--without-mingle", "-c", "2"]
    return Supervised(command, log)


def result_of(death, id):
    """What the task gave; None if it has no result within ten seconds."""

    def ask():
        try:
            return add.AsyncResult(id).get(timeout=10)
        except celery.exceptions.TimeoutError:
            return None

    return death.insist(ask)


def work(death, workers):
    sent = {}

    def send(after):
        id = str(uuid.uuid4())
        # Under one id a task may be sent again when its first answer was an error.
        death.insist(lambda: add.apply_async((after, 1), task_id=id))
        sent[id] = after + 1

    for n in range(50):
        send(n)
    check(add.AsyncResult(next(iter(sent))).get(timeout=30), 1)
    death.half()
    while not death.is_over.is_set():
        send(len(sent))
    for _ in range(50):
        send(len(sent))
    results = {id: result_of(death, id) for id in sent}
    # A worker takes a task off its list, and notes it as unacknowledged by another command. When the server dies between the two,
    # the worker lets it go: one task at most of each. Whoever sent it sends it again.
    dropped = [id for id in sent if results[id] is None]
    check(len(dropped) <= len(workers), True, f"{len(dropped)} tasks of {len(sent)} have no result")
    for id in dropped:
        death.insist(lambda: add.apply_async((sent[id] - 1, 1), task_id=id))
        results[id] = death.insist(lambda: add.AsyncResult(id).get(timeout=20))
    check(results, sent)
    ran = death.insist(lambda: effects.hgetall(f"{prefix}ran"))
    check(set(ran), {f"{n - 1}+1" for n in sent.values()})
    canvas = death.insist(lambda: chord([add.s(n, n) for n in range(20)], total.s()).apply_async())
    check(death.insist(lambda: canvas.get(timeout=20)), 380)
    more = sum(1 for count in ran.values() if count != "1")
    starts = sum(worker.starts for worker in workers)
    print(f"Celery: {len(sent)} tasks, {len(dropped)} dropped by a worker, {more} ran more than once, workers were started {starts} times; errors met: {death.errors}")


def main():
    ends_within(90)
    workers = [worker("one@test"), worker("two@test")]
    try:
        work(Death(), workers)
    except BaseException:
        log.seek(0)
        print(f"Celery; its workers said:\n{log.read().decode()}", file=sys.stderr)
        raise
    finally:
        for process in workers:
            process.end()
    passed(f"Celery {celery.__version__} on a cluster")


main()
