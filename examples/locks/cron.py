"""A cron job that runs once for each of its times, though every machine's cron starts it.

    python cron.py JOB TIME COMMAND..       # as: * * * * *  python cron.py report $(date +\\%H:\\%M) make report

The lock lets one work at a time; the mark, which only its holder can set, tells the others that the work is done. One that dies in the
middle has set no mark, and the next does it over: so the work is done at least once, and begun by one at a time."""

import subprocess
import sys

from tidegate_lock import Lock, Lost, Nodes


def main(job, moment, command):
    mark = f"{{cron:{job}}}:{moment}"
    lock = Lock(Nodes(), f"cron:{job}", ttl_ms=5_000)
    # The shard of the mark refuses all former holders before this one is told.
    if not lock.acquire(wait_ms=600_000, fencing=[mark]):
        return "another is at work"
    try:
        if lock.read("GET", mark):
            return "it was done before"
        subprocess.run(command, check=True)
        lock.write("SET", mark, "done", "EX", 86_400)
        return "done here"
    except Lost:
        return "another took over"
    finally:
        lock.release()


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], sys.argv[3:]), flush=True)
