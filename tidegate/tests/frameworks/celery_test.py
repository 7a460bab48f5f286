"""Celery, unmodified: a real worker of two processes; tasks, groups, chains, chords, retries, countdowns, priorities, results,
remote control, and the task of a worker that was killed. Usage: celery_test.py HOST PORT"""

import os
import subprocess
import sys
import tempfile
import time

from support import check, ends_within, kill, passed, refuses

os.environ["TIDEGATE"] = f"{sys.argv[1]}:{sys.argv[2]}"
os.environ["PREFIX"] = "{celery}:"
os.chdir(os.path.dirname(os.path.abspath(__file__)))

import celery  # noqa: E402
from celery import chain, chord, group  # noqa: E402
from celery.exceptions import TaskRevokedError  # noqa: E402
from celery_app import add, app, broken, effects, fails, note, prefix, slow, third, told, total, when  # noqa: E402

WAIT = 30
workers, log = [], tempfile.TemporaryFile()


def worker(name, *arguments):
    command = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-n", name, "-l", "warning", "--without-mingle"]
    process = subprocess.Popen([*command, *arguments], start_new_session=True, stdout=log, stderr=log)
    workers.append(process)
    return process


def tasks():
    results = [add.delay(n, n) for n in range(200)]
    check([result.get(timeout=WAIT) for result in results], [2 * n for n in range(200)])
    check(effects.hgetall(f"{prefix}ran"), {f"{n}+{n}": "1" for n in range(200)}, "each task ran once")
    check({result.state for result in results}, {"SUCCESS"})
    check((results[7].name, results[7].args), ("celery_app.add", [7, 7]))
    results[0].forget()
    check(add.AsyncResult(results[0].id).state, "PENDING")
    big = add.delay("x" * 1_000_000, "y")
    check(len(big.get(timeout=WAIT)), 1_000_001)


def canvases():
    many = group(add.s(n, 1000) for n in range(50)).apply_async()
    check(many.get(timeout=WAIT), [n + 1000 for n in range(50)])
    check((many.successful(), many.completed_count()), (True, 50))
    many.save()
    check(app.GroupResult.restore(many.id).get(timeout=WAIT), [n + 1000 for n in range(50)])
    check(chain(add.s(1, 2), add.s(3), add.s(4)).apply_async().get(timeout=WAIT), 10)
    check(add.chunks(zip(range(20), range(20)), 5)().get(timeout=WAIT)[3], [30, 32, 34, 36, 38])
    check(add.starmap([(1, 1), (2, 2)]).apply_async().get(timeout=WAIT), [2, 4])


def chords():
    check(chord((add.s(n, n) for n in range(50)), total.s()).apply_async().get(timeout=WAIT), 2450)
    results = [chord([add.s(n, 1), add.s(n, 2)], total.s()).apply_async() for n in range(20)]
    check([result.get(timeout=WAIT) for result in results], [2 * n + 3 for n in range(20)])
    check(effects.get(f"{prefix}totals"), "21", "each chord's body ran once")
    inner = [chord([add.s(n, 1), add.s(n, 2)], total.s()) for n in range(5)]
    check(chord(inner, total.s()).apply_async().get(timeout=WAIT), 35)
    failing = chord([add.s(1, 1), fails.s()], total.s()).apply_async()
    refuses(Exception, "no use", lambda: failing.get(timeout=WAIT))


def retries():
    result, bad = third.delay("a"), broken.delay("b")
    check(result.get(timeout=WAIT), 2)
    at = [float(one) for one in effects.lrange(f"{prefix}third:a", 0, -1)]
    check((len(at), at[1] - at[0] >= 0.3, at[2] - at[1] >= 0.6), (3, True, True), f"countdowns of 0.3 and 0.6 s: {at}")
    refuses(KeyError, "b", lambda: bad.get(timeout=WAIT))
    check((bad.state, effects.get(f"{prefix}broken:b")), ("FAILURE", "3"))
    result = fails.delay()
    refuses(ValueError, "no use", lambda: result.get(timeout=WAIT))
    check("ValueError: no use" in result.traceback, True)


def countdowns():
    started = time.time()
    later, sooner = when.apply_async(countdown=1.5), when.apply_async(countdown=0.5)
    revoked = note.apply_async(("never",), countdown=1)
    revoked.revoke()
    first = sooner.get(timeout=WAIT) - started
    second = later.get(timeout=WAIT) - started
    check(0.5 <= first < second and second >= 1.5, True, f"after {first} and {second} s")
    refuses(TaskRevokedError, "revoked", lambda: revoked.get(timeout=WAIT))
    expired = note.apply_async(("never",), countdown=0.2, expires=0.1)
    refuses(TaskRevokedError, "expired", lambda: expired.get(timeout=WAIT))
    check(effects.exists(f"{prefix}notes"), 0)


def states():
    """The task goes on when the first of its states was heard: so they came by pub/sub, not by a look at the end."""
    seen = []

    def hear(body):
        seen.append(body["status"])
        effects.lpush(f"{prefix}told:go", 1)

    check(told.delay(5).get(timeout=WAIT, on_message=hear), 5)
    check(seen, ["PROGRESS"] * 5 + ["SUCCESS"])


def control():
    names = {"many@test", "one@test"}
    answers = app.control.ping(timeout=WAIT, limit=2)
    check({name for answer in answers for name in answer}, names)
    inspect = app.control.inspect(timeout=WAIT, limit=2)
    check(set(inspect.stats()), names)
    check("celery_app.add" in app.control.inspect(timeout=WAIT, limit=2).registered()["many@test"], True)


def priorities():
    """A worker that takes one at a time begins with the most urgent, 0; equals in the order of their coming."""
    given = [9, 0, 3, 6, 3, 0, 9, 6]
    results = [note.apply_async((f"{p}:{n}",), queue="later", priority=p) for n, p in enumerate(given)]
    check(app.control.add_consumer("later", destination=["one@test"], reply=True, timeout=WAIT, limit=1),
          [{"one@test": {"ok": "add consumer later"}}])
    for result in results:
        result.get(timeout=WAIT)
    check(effects.lrange(f"{prefix}notes", 0, -1), sorted((f"{p}:{n}" for n, p in enumerate(given)), key=lambda one: one.split(":")[0]))


def killed():
    """What a killed worker had taken and not acknowledged comes again after the visibility timeout."""
    victim = worker("victim@test", "-P", "solo", "-Q", "dangerous")
    result = slow.apply_async(("a",), queue="dangerous")
    check(effects.blpop(f"{prefix}slow:began", timeout=WAIT), (f"{prefix}slow:began", "a"))
    kill(victim)
    app.control.add_consumer("dangerous", destination=["one@test"])
    check(result.get(timeout=WAIT), "saved")
    check(effects.get(f"{prefix}slow:a"), "2")


def main():
    ends_within(90)
    effects.flushall()
    worker("many@test", "-c", "2", "-Q", "celery")
    worker("one@test", "-P", "solo", "-Q", "one")
    try:
        for part in (tasks, canvases, chords, retries, countdowns, states, control, priorities, killed):
            try:
                part()
            except BaseException:
                log.seek(0)
                print(f"Celery: {part.__name__}; its workers said:\n{log.read().decode()}", file=sys.stderr)
                raise
    finally:
        for process in workers:
            kill(process)
    passed(f"Celery {celery.__version__}")


main()
