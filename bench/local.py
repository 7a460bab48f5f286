"""A cluster of this machine for the scripts beside, and commands as bytes."""

import os
import subprocess
import time

PORT = 24000


def words(*parts):
    out = b"*%d\r\n" % len(parts)
    for part in parts:
        out += b"$%d\r\n%s\r\n" % (len(part), part)
    return out


def cluster(nodes, folder):
    out = open(os.path.join(folder, "ready"), "wb")
    log = open(os.path.join(folder, "log"), "wb")
    binary = os.environ.get("TIDEGATE", "target/release/tidegate")
    args = [binary, "local", "--nodes", str(nodes), "--port", str(PORT), "--dir", os.path.join(folder, "c")]
    process = subprocess.Popen(args, stdout=out, stderr=log)
    deadline = time.monotonic() + 30
    while b"ready " not in open(out.name, "rb").read():
        if time.monotonic() > deadline:
            raise SystemExit("the cluster isn't ready: " + log.name)
        time.sleep(0.05)
    return process
