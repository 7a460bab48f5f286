"""RQ on three nodes of which the one that leads its keys is killed: each job that was enqueued is done at least once. Its workers
know one of the other two each; one that ends by an error is started again, as under a supervisor.
Usage: rq_cluster.py TAG PORTS"""

import os
import sys
import tempfile
import time

from support import Death, Supervised, check, ends_within, passed

tag, ports = sys.argv[1], sys.argv[2].split(",")
os.environ["RQ_KEY_PREFIX"] = f"{tag}rq"
os.environ["TIDEGATE"] = f"127.0.0.1:{ports[0]}"
os.chdir(os.path.dirname(os.path.abspath(__file__)))

import redis  # noqa: E402
import rq  # noqa: E402
from rq import Queue, Retry  # noqa: E402
from rq.intermediate_queue import IntermediateQueue  # noqa: E402
from rq.job import Job  # noqa: E402
from rq_app import add, effects, key  # noqa: E402

connection = redis.Redis(port=int(ports[0]), socket_timeout=None)
log = tempfile.TemporaryFile()


def worker(port):
    url = f"redis://127.0.0.1:{port}/0"
    return Supervised([sys.executable, "-m", "rq.cli", "worker", "--url", url, "--worker-class", "rq.SimpleWorker", "jobs"], log)


def work(death, workers):
    queue = Queue("jobs", connection=connection)
    sent = []

    def send():
        id = f"job-{len(sent)}"
        # Under one id a job may be enqueued again when its first answer was an error.
        death.insist(lambda: queue.enqueue(add, len(sent), 1, job_id=id, retry=Retry(max=3), result_ttl=600))
        sent.append(id)

    for _ in range(50):
        send()
    while effects.hlen(key("ran")) < 20:
        connection.ping()
    death.half()
    while not death.is_over.is_set():
        send()
    for _ in range(50):
        send()
    late = time.monotonic() + 40
    while death.insist(lambda: effects.hlen(key("ran"))) < len(sent):
        assert time.monotonic() < late, f"{effects.hlen(key('ran'))} of {len(sent)} ran"
        # What the maintenance of RQ does by itself once a minute.
        death.insist(lambda: recover(queue))
    results = [death.insist(lambda: Job.fetch(id, connection=connection).latest_result(timeout=10).return_value) for id in sent]
    check(results, [n + 1 for n in range(len(sent))])
    ran = effects.hgetall(key("ran"))
    check(set(ran), {f"{n}+1" for n in range(len(sent))})
    more = sum(1 for count in ran.values() if count != "1")
    starts = sum(worker.starts for worker in workers)
    print(f"RQ: {len(sent)} jobs, {more} ran more than once, workers were started {starts} times; errors met: {death.errors}")


def recover(queue):
    """Jobs that a worker had taken when it ended go back to the queue."""
    for id in IntermediateQueue(queue.key, connection=connection).get_job_ids():
        queue.push_job_id(id)
        queue.intermediate_queue.remove(id)
    queue.started_job_registry.cleanup(timestamp=int(time.time()) + 600)
    for id in queue.failed_job_registry.get_job_ids():
        queue.failed_job_registry.requeue(id)


def main():
    ends_within(90)
    workers = [worker(port) for port in ports]
    try:
        work(Death(), workers)
    except BaseException:
        log.seek(0)
        print(f"RQ; its workers said:\n{log.read().decode()[-20000:]}", file=sys.stderr)
        raise
    finally:
        for process in workers:
            process.end()
    passed(f"RQ {rq.VERSION} on a cluster")


main()
