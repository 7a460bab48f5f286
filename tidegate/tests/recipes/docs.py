"""Each command of docs/locks.md, as it stands there, against a fresh node: it prints what stands behind it, in lines that begin with
"# ", where .. is anything. The commands of a block share a shell.
Usage: docs.py TIDEGATE"""

import os
import re
import subprocess
import sys
import tempfile

from recipes import check, ends_within, passed

END = "-- that was one command --"


def blocks(text):
    """Of each block, its commands with the lines that they print."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        commands = []
        for line in filter(None, block.split("\n")):
            if line.startswith("# "):
                commands[-1][1].append(line[2:])
            else:
                commands.append((line, []))
        yield commands


def is_like(line, wanted):
    return re.fullmatch(".*".join(map(re.escape, wanted.split(".."))), line) is not None


for line, wanted, like in [("a 17 b", "a .. b", True), ("a 17 c", "a .. b", False), ("x a b", "a b", False), ("a 1", "a ..", True)]:
    check(is_like(line, wanted), like, wanted)

ends_within(120)
tidegate = os.path.realpath(sys.argv[1])
shown = 0
with tempfile.TemporaryDirectory() as folder:
    command = [tidegate, "dev", "--port", "0", "--dir", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as node:
        try:
            resp, admin = re.match(r"ready resp=[^:]*:(\d+) .*admin=(\S+)", node.stdout.readline()).groups()
            with open(os.path.join(os.path.dirname(__file__), "..", "..", "..", "docs", "locks.md")) as file:
                text = file.read()
            for block in blocks(text):
                script = "".join(f"{command}\necho '{END}'\n" for command, _ in block)
                script = script.replace("127.0.0.1:7379", admin).replace("redis-cli ", f"redis-cli -p {resp} ")
                script = script.replace("tidegate locks ", f"{tidegate} locks ")
                done = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True)
                for (command, wanted), printed in zip(block, done.stdout.split(END + "\n")):
                    lines = printed.splitlines()
                    same = len(lines) == len(wanted) and all(map(is_like, lines, wanted))
                    check(same, True, f"{command}\nprints\n{printed}{done.stderr}\nand not\n" + "\n".join(wanted))
                    shown += len(wanted)
        finally:
            node.kill()
check(shown >= 18, True, f"{shown} lines are shown")
passed("docs/locks.md")
