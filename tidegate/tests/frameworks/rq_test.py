"""RQ, unmodified, with real workers: jobs, order, dependencies, retries, schedules, repeats, registries, callbacks, unique jobs, stopped jobs
and the job of a worker that was killed. Usage: rq_test.py HOST PORT"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta

from support import check, ends_within, kill, passed, refuses

os.environ["TIDEGATE"] = f"{sys.argv[1]}:{sys.argv[2]}"
os.environ["RQ_KEY_PREFIX"] = "{rq}"
os.chdir(os.path.dirname(os.path.abspath(__file__)))

import redis  # noqa: E402
import rq  # noqa: E402
from rq import Callback, Queue, Repeat, Retry  # noqa: E402
from rq.command import send_stop_job_command  # noqa: E402
from rq.exceptions import DuplicateJobError  # noqa: E402
from rq.group import Group  # noqa: E402
from rq.registry import StartedJobRegistry  # noqa: E402
from rq_app import add, broken, clock, effects, key, note, on_failure, on_success, slow, stopped, third  # noqa: E402

WAIT = 30
connection = redis.Redis.from_url(f"redis://{os.environ['TIDEGATE']}/0", socket_timeout=None)
workers, log = [], tempfile.TemporaryFile()


def worker(*arguments):
    """The real program, in a process group of its own."""
    command = [sys.executable, "-m", "rq.cli", "worker", "--url", f"redis://{os.environ['TIDEGATE']}/0", *arguments]
    process = subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log)
    workers.append(process)
    return process


def queue(name):
    return Queue(name, connection=connection)


def ended(job):
    """The job's next result: RQ waits for it by a blocking read of a stream."""
    result = job.latest_result(timeout=WAIT)
    assert result is not None, f"no result of {job.id} within {WAIT} s"
    return result


def jobs():
    """200 jobs, and a worker that ends when there are no more: each ran once, in order."""
    many = queue("burst")
    with connection.pipeline() as pipe:
        made = many.enqueue_many([Queue.prepare_data(add, (n, n)) for n in range(100)], pipeline=pipe)
        pipe.execute()
    made += [many.enqueue(add, n, n) for n in range(100, 200)]
    front = many.enqueue(note, "order", "front", at_front=True)
    back = many.enqueue(note, "order", "back")
    check((len(many), many.get_job_position(front.id), many.get_job_position(back.id)), (202, 0, 201))
    check(worker("burst", "--burst", "--worker-class", "rq.SimpleWorker").wait(timeout=WAIT), 0)
    check([job.return_value() for job in made], [2 * n for n in range(200)])
    check(effects.hgetall(key("ran")), {f"{n}+{n}": "1" for n in range(200)}, "each job ran once")
    check(effects.lrange(key("order"), 0, -1), ["front", "back"])
    check((len(many), many.finished_job_registry.count, many.failed_job_registry.count), (0, 202, 0))
    check({job.get_status().value for job in made}, {"finished"})


def forked():
    """The worker of the other parts forks for each job, and has a scheduler."""
    results = [queue("default").enqueue(add, n, 1000) for n in range(10)]
    check([ended(job).return_value for job in results], [n + 1000 for n in range(10)])


def dependencies():
    q = queue("default")
    first = [q.enqueue(note, "tree", "leaf") for _ in range(5)]
    middle = q.enqueue(note, "tree", "middle", depends_on=first)
    last = q.enqueue(note, "tree", "last", depends_on=middle)
    check(ended(last).return_value, "last")
    check(effects.lrange(key("tree"), 0, -1), ["leaf"] * 5 + ["middle", "last"])
    bad = q.enqueue(broken)
    never = q.enqueue(note, "tree", "never", depends_on=bad)
    after = q.enqueue(note, "tree", "after", depends_on=rq.job.Dependency(bad, allow_failure=True))
    check(ended(after).return_value, "after")
    check(never.get_status().value, "deferred")
    check(never.id in q.deferred_job_registry, True)
    never.cancel()
    check(never.get_status().value, "canceled")


def retries():
    q = queue("default")
    job = q.enqueue(third, "third", retry=Retry(max=3, interval=[2, 2]))
    at_once = q.enqueue(third, "at once", retry=Retry(max=2))
    bad = q.enqueue(broken, on_failure=Callback(on_failure))
    good = q.enqueue(add, 1, 1, on_success=Callback(on_success))
    check([one.type.name for one in (ended(bad), ended(good))], ["FAILED", "SUCCESSFUL"])
    check("ValueError: broken" in bad.latest_result().exc_string, True)
    check((bad.id in q.failed_job_registry, bad.get_status().value), (True, "failed"))
    effects.set(key("mended"), 1)
    q.failed_job_registry.requeue(bad.id)
    until(lambda: bad.get_status().value == "finished", bad)
    check(bad.return_value(refresh=True), "mended")
    check(bad.id in q.failed_job_registry, False)
    for one in (job, at_once):
        until(lambda: one.get_status().value == "finished", one)
    at = [float(one) for one in effects.lrange(key("third"), 0, -1)]
    # Its times are kept in whole seconds.
    check((len(at), at[1] - at[0] >= 1, at[2] - at[1] >= 1), (3, True, True), f"intervals of 2 s: {at}")
    check(effects.llen(key("at once")), 3)
    check(effects.lrange(key("callbacks"), 0, -1), ["failure broken", "success 2"])


def until(condition, job):
    """Looks again at each result that comes: a retried or repeated job has one per run."""
    late = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < late, f"{job.id} is {job.get_status()}"
        connection.xread({rq.results.Result.get_key(job.id): "$"}, block=100)


def schedules():
    q = queue("default")
    started = time.time()
    later = q.enqueue_in(timedelta(seconds=2), clock, "later")
    far = q.enqueue_in(timedelta(hours=1), clock, "far")
    check({later.id, far.id} <= set(q.scheduled_job_registry.get_job_ids()), True)
    repeated = q.enqueue(clock, "repeated", repeat=Repeat(times=3))
    check(ended(later).type.name, "SUCCESSFUL")
    ran = float(effects.lindex(key("later"), 0)) - started
    # Its time is kept in whole seconds.
    check(ran >= 1.0, True, f"scheduled in 2 s, ran after {ran:.1f} s")
    check(q.scheduled_job_registry.get_job_ids(), [far.id])
    until(lambda: effects.llen(key("repeated")) == 4, repeated)
    far.delete()
    check(q.scheduled_job_registry.count, 0)


def unique_and_groups():
    q = queue("nobody")
    one = q.enqueue(add, 1, 2, job_id="mine", unique=True)
    refuses(DuplicateJobError, "mine", lambda: q.enqueue(add, 1, 2, job_id="mine", unique=True))
    check(q.job_ids, [one.id])
    check(q.empty(), 1)
    group = Group.create(connection=connection)
    made = group.enqueue_many(queue("default"), [Queue.prepare_data(add, (n, 5000)) for n in range(5)])
    check([ended(job).return_value for job in made], [n + 5000 for n in range(5)])
    check({job.id for job in Group.fetch(group.name, connection).get_jobs()}, {job.id for job in made})


def stopping():
    """A command by pub/sub stops a job that runs."""
    job = queue("default").enqueue(stopped)
    check(effects.blpop(key("stopped:began"), timeout=WAIT), (key("stopped:began"), "1"))
    send_stop_job_command(connection, job.id)
    check(ended(job).type.name, "FAILED")
    check(job.get_status().value, "stopped")


def killed():
    """A worker is killed with its job in hands: the registry of started jobs finds it abandoned, and it's retried."""
    q = queue("dangerous")
    victim = worker("dangerous")
    job = q.enqueue(slow, retry=Retry(max=1))
    check(effects.blpop(key("slow:began"), timeout=WAIT), (key("slow:began"), "1"))
    kill(victim)
    check(job.get_status().value, "started")
    # As maintenance does it a minute and a half later, when heartbeats are missed.
    StartedJobRegistry("dangerous", connection=connection).cleanup(timestamp=int(time.time()) + 600)
    check(job.get_status().value, "queued")
    check(worker("dangerous", "--burst", "--worker-class", "rq.SimpleWorker").wait(timeout=WAIT), 0)
    check((job.return_value(refresh=True), effects.get(key("slow"))), ("saved", "2"))


def main():
    ends_within(90)
    effects.flushall()
    try:
        jobs()
        worker("default", "--with-scheduler")
        for part in (forked, dependencies, retries, schedules, unique_and_groups, stopping, killed):
            part()
    except BaseException:
        log.seek(0)
        print(f"RQ; its workers said:\n{log.read().decode()}", file=sys.stderr)
        raise
    finally:
        for process in workers:
            kill(process)
    check({name for name in effects.keys("*") if not name.startswith("{rq}:")}, set(), "keys beside the prefix")
    passed(f"RQ {rq.VERSION}")


main()
