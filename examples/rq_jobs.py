"""Jobs by RQ on Tidegate: `pip install rq`, then here

    export RQ_KEY_PREFIX='{rq}'
    rq worker --url redis://127.0.0.1:6379 --with-scheduler mail &
    python rq_jobs.py

The braces keep all keys in one shard, which transactions over several keys need on several nodes (RQ 3.0 and newer).
docs/jobs.md tells the rest."""

import os

os.environ.setdefault("RQ_KEY_PREFIX", "{rq}")


def send(to):
    return f"sent to {to}"


def main():
    from redis import Redis
    from rq import Queue, Retry

    # No limit for answers: blocking reads wait for as long as they were told.
    queue = Queue("mail", connection=Redis.from_url(os.environ.get("TIDEGATE_URL", "redis://127.0.0.1:6379"), socket_timeout=None))
    first = queue.enqueue("rq_jobs.send", "ada", retry=Retry(max=3))
    second = queue.enqueue("rq_jobs.send", "bob", depends_on=first)
    for job in (first, second):
        print(job.latest_result(timeout=30).return_value)


if __name__ == "__main__":
    main()
