"""Random commands with random options and arguments at the edges, sent to redis-server 7.0 and to the node at PORT:
each reply must be the same, byte by byte but for what is time or chance.

Usage: differential.py PORT [--seed N] [--seconds S] [--keep-going]

What differs by intent is not asked: decimals are added as decimals, where Redis' long doubles show digits that nobody
wrote (and it reads hexadecimal floats and powers up to 4932); an error names what isn't UTF-8 with replacement marks;
the empty key matches the pattern **; a request has at most 1,048,576 words; cursors of SCAN
are the node's own; what is too long is refused at once, not after 64 KiB of digits; a zero byte in an inline command
is a byte.

A run is a row of sessions, each on an empty keyspace with two connections, so that transactions meet each other. The
seed of a session makes it again. A difference is reduced to the fewest commands that still show it, and printed as
lines for redis-cli. redis-server is started here, on a Unix socket, and ended with the run.
"""

import argparse
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

COMMANDS_PER_SESSION = 60
CONNECTIONS = 2
REPLY_TIME_MAX_S = 5
FAR_S = 4_000_000_000

KEYS = ["a", "b", "c", "d", "", "k\x00\xff\r\n"]
INTEGERS = ["0", "1", "-1", "2", "10", "-7", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
            "-9223372036854775809", "99999999999999999999999999", "abc", "", " 1", "1 ", "+1", "-0", "01", "1.0", "1e3",
            "0x10", "-", "1\x00"]
# Those without an error are exact in binary and small: see above.
FLOATS = ["0.5", "-0.25", "1", "3.0e3", "inf", "-inf", "nan", " 1.5", "1.5 ", "", ".5", "5.", "-.5e1", "1_000", "abc", "0", "-0",
          "+2.5", "infinity", "1e", "e1", "1.5\x00", "1e-2x", "10", "-7"]
VALUES = ["", "0", "10", "-5", "hello", "\x00\xff", "x" * 100, "9223372036854775807", "-9223372036854775808", "1.5", "3.0",
          " 1", "1e2", "0.25"]
OFFSETS = ["0", "1", "2", "5", "20", "-1", "-2", "-100", "100", "9223372036854775807", "-9223372036854775808", "abc", "1.5"]
# An expiry near now would make the replies depend on who is asked first.
SPANS = ["100", "1000", "5000000", "10000000000", "0", "-1", "-100", "9223372036854775807", "-9223372036854775808",
         "9223372036854775", "9223372036854774", "-9223372036854775", "-9223372036854776", "9223370000000000",
         "9223372036854775808", "abc", "", "1.5", " 100"]
SPANS_MS = ["150000", "123456", "5300000", "10000400000", "0", "-1", "-100000", "9223372036854775807",
            "9223370000000000000", "-9223372036854775808", "abc", "", "1.5"]
TIMES = [str(FAR_S), "1", "0", "-1", str(FAR_S + 5), "9223372036854775807", "9223372036854775", "9223372036854776", "abc"]
TIMES_MS = [str(FAR_S * 1000), str(FAR_S * 1000 + 1), "1", "0", "-1", "9223372036854775807", "-9223372036854775808", "abc"]
DATABASES = ["0", "1", "15", "16", "-1", "abc", "", "1 ", "+1", "01", "9999999999", "99999999999999999999"]
PATTERNS = ["*", "a", "?", "[a-c]", "[^a]", "k*", "\\a", "[", "[a", "[c-a]", "**b", "", "*\\", "k?\xff*", "[]", "[\\]]"]
RELATIVE = {"ttl": 3, "expiretime": 3, "pttl": 3000, "pexpiretime": 3000, "exec": 3000}
UNORDERED = {"keys", "scan", "exec"}


class Generator:
    """Commands by chance."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        # A flush ends every transaction that watches, here even if the watched keys were absent: one or the other.
        self.flushes = self.r.random() < 0.3
        self.spans = 0

    def key(self):
        return self.r.choice(KEYS[:4]) if self.r.random() < 0.9 else self.r.choice(KEYS)

    def pick(self, *choices):
        return self.r.choice(choices)

    def some(self, options, most):
        """Up to `most` of the options, each a list of words."""
        chosen = self.r.sample(options, self.r.randint(0, most))
        return [word for option in chosen for word in option]

    def span(self, spans):
        """No two moderate spans of a session are alike: GT and LT would depend on the millisecond."""
        text, step = self.r.choice(spans), 1000 if spans is SPANS else 7_000_003
        if text.isdigit() and 100 <= int(text) < 100_000_000_000:
            self.spans += 1
            return str(int(text) + self.spans * step)
        return text

    def expiries(self):
        r = self.r
        return [["EX", self.span(SPANS)], ["PX", self.span(SPANS_MS)], ["EXAT", r.choice(TIMES)], ["PXAT", r.choice(TIMES_MS)]]

    def command(self):
        words = getattr(self, self.r.choice(FAMILIES))()
        # These tell about the node itself when they are spoilt.
        if self.r.random() < 0.06 and words[0] not in ("COMMAND", "CONFIG", "CLIENT", "INFO", "HELLO"):
            words = self.spoil(words)
        if self.r.random() < 0.3:
            words[0] = words[0].lower()
        return words

    def spoil(self, words):
        how = self.r.randrange(3)
        if how == 0 and len(words) > 1:
            del words[self.r.randrange(1, len(words))]
        elif how == 1:
            words.insert(self.r.randrange(1, len(words) + 1), self.r.choice(VALUES + ["NX", "GET", "EX"]))
        else:
            at = self.r.randrange(len(words))
            words[at] = words[at].swapcase() if words[at].isascii() else words[at]
        return words

    def set(self):
        # In Redis 7.0 a SET into the past leaves a key that is gone, but counted, until it is looked at.
        options = [option for option in self.expiries() + self.expiries() if option[1] != "1"] + [["KEEPTTL"], ["NX"], ["XX"], ["GET"], ["nx"], ["PERSIST"]]
        if self.r.random() < 0.1:
            return ["SET", "f", self.pick("0", "1.5", "-2.25", "1e2", "x", "100")]
        return ["SET", self.key(), self.r.choice(VALUES)] + self.some(options, 3)

    def get(self):
        return [self.pick("GET", "GET", "GETDEL", "STRLEN", "TYPE"), self.key()]

    def getex(self):
        return ["GETEX", self.key()] + self.some(self.expiries() + self.expiries() + [["PERSIST"], ["KEEPTTL"]], 2)

    def simple_sets(self):
        name = self.pick("SETNX", "GETSET", "APPEND")
        return [name, self.key(), self.r.choice(VALUES)]

    def timed_sets(self):
        name, spans = self.pick(("SETEX", SPANS), ("PSETEX", SPANS_MS))
        return [name, self.key(), self.span(spans), self.r.choice(VALUES)]

    def many(self):
        name = self.pick("MSET", "MSETNX")
        return [name] + [word for _ in range(self.r.randint(0, 3)) for word in (self.key(), self.r.choice(VALUES))]

    def keys_of(self):
        name = self.pick("MGET", "DEL", "UNLINK", "EXISTS", "TOUCH", "DEL")
        return [name] + [self.key() for _ in range(self.r.randint(0, 3))]

    def ranges(self):
        if self.r.random() < 0.4:
            offset = self.pick("0", "1", "5", "20", "-1", "536870912", "9223372036854775807", "abc", "1.5")
            return ["SETRANGE", self.key(), offset, self.pick("", "xyz", "\x00")]
        return [self.pick("GETRANGE", "SUBSTR"), self.key(), self.r.choice(OFFSETS), self.r.choice(OFFSETS)]

    def counts(self):
        name = self.pick("INCR", "DECR", "INCRBY", "DECRBY", "INCRBYFLOAT", "INCRBYFLOAT")
        if name in ("INCR", "DECR"):
            return [name, self.key()]
        if name == "INCRBYFLOAT":
            return [name, self.pick("f", "f", "f", "f", "none"), self.r.choice(FLOATS + ["1e17"])]
        return [name, self.key(), self.r.choice(INTEGERS)]

    def expire(self):
        name, spans = self.pick(("EXPIRE", SPANS), ("PEXPIRE", SPANS_MS), ("EXPIREAT", TIMES), ("PEXPIREAT", TIMES_MS))
        return [name, self.key(), self.span(spans)] + self.some([["NX"], ["XX"], ["GT"], ["LT"], ["gt"], ["ZZ"]], 2)

    def expiry(self):
        return [self.pick("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST"), self.key()]

    def walk(self):
        if self.r.random() < 0.5:
            return ["KEYS", self.r.choice(PATTERNS)]
        options = [["MATCH", self.r.choice(PATTERNS)], ["TYPE", self.pick("string", "list", "STRING", "none", "x")]]
        wrong = [["COUNT", self.pick("0", "-1", "abc", "")], ["ZZ"], ["MATCH"]] if self.r.random() < 0.3 else []
        return ["SCAN", "0" if self.r.random() < 0.9 else self.pick("abc", "", "1x", "-", "99999999999999999999")] + self.some(options + wrong, 2) + ["COUNT", "10000"]

    def names(self):
        name = self.pick("RENAME", "RENAMENX", "COPY", "COPY", "MOVE")
        if name == "MOVE":
            return [name, self.key(), self.r.choice(DATABASES)]
        words = [name, self.key(), self.key()]
        options = [["REPLACE"], ["DB", self.r.choice(DATABASES)], ["ZZ"]]
        return words + (self.some(options, 2) if name == "COPY" else [])

    def whole(self):
        if not self.flushes or self.r.random() < 0.7:
            return ["DBSIZE"]
        return [self.pick("FLUSHDB", "FLUSHALL")] + self.some([["ASYNC"], ["SYNC"], ["ZZ"]], 1)

    def connection(self):
        return self.pick(["PING"], ["PING", "x"], ["ECHO", "\x00\r\n"], ["SELECT", "0"], ["SELECT", self.r.choice(DATABASES)],
                         ["CLIENT", "SETNAME", self.pick("n", "a b", "", "\n")], ["CLIENT", "GETNAME"], ["CLIENT"],
                         ["CLIENT", "NO-EVICT", self.pick("on", "off", "x")], ["RESET"], ["QUIT"],
                         ["AUTH", "x"], ["AUTH", "default", "x"], ["AUTH", "who", "x"], ["AUTH", "a", "b", "c"],
                         ["HELLO", self.pick("1", "4", "abc", "", "-1", "03")], ["HELLO", "3", "ZZ"], ["HELLO", "3", "SETNAME"],
                         ["HELLO", "2", "SETNAME", "a b"], ["HELLO", "3", "AUTH", "who", "x"])

    def node(self):
        call = getattr(self, self.r.choice(FAMILIES[:12]))()
        return self.pick(["COMMAND", "GETKEYS"] + (call if len(call) > 1 else ["GET", "a"]), ["COMMAND", "INFO", "zz"],
                         ["CONFIG"], ["CONFIG", "GET", "appendfsyncs"], ["INFO", "zz"], ["NOSUCH"],
                         ["NOSUCH", "a'b", "\x00", "x" * 200, "y"], ["nosuch", "x\x00y", "y"], ["no\r\nsuch", "x"],
                         ["TIME", "x", "y"], ["POST", "/"])

    def transaction(self):
        if self.flushes:
            return self.pick(["MULTI"], ["EXEC"], ["EXEC"], ["DISCARD"], ["UNWATCH"])
        return self.pick(["MULTI"], ["MULTI"], ["EXEC"], ["EXEC"], ["EXEC"], ["DISCARD"], ["WATCH", self.key()],
                         ["WATCH", self.key(), self.key()], ["UNWATCH"])


FAMILIES = ["set", "get", "getex", "simple_sets", "timed_sets", "many", "keys_of", "ranges", "counts", "expire", "expiry", "names",
            "set", "get", "counts", "expire", "expiry", "walk", "names", "whole", "connection", "node", "transaction",
            "transaction", "transaction"]


class Connection:
    """One connection; replies come as trees of (kind, value), and as the bytes they were."""

    def __init__(self, address):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(REPLY_TIME_MAX_S)
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def rest(self):
        """All bytes until the other side closes."""
        received = b""
        try:
            while piece := self.socket.recv(65536):
                received += piece
        except ConnectionResetError:
            received += b"(reset)"
        except TimeoutError:
            received += b"(left open)"
        return received

    def ask(self, words):
        frame = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in map(encoded, words))
        self.socket.sendall(b"*%d\r\n" % len(words) + frame)
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            return ("closed", line)
        kind, rest = chr(line[0]), line[1:-2]
        if kind in "$=!" and rest != b"-1":
            return (kind, self.file.read(int(rest) + 2)[:-2])
        if kind in "*~>" and rest != b"-1":
            return (kind, [self.reply() for _ in range(int(rest))])
        if kind == "%":
            return (kind, [self.reply() for _ in range(2 * int(rest))])
        return (kind, rest)


def encoded(word):
    return word.encode("latin-1")


def alike(one, other, slack, unordered):
    """True if two replies say the same; integers far from 0 may differ by the slack, lists of names in order."""
    if one[0] != other[0]:
        return False
    if isinstance(one[1], list):
        if not isinstance(other[1], list) or len(one[1]) != len(other[1]):
            return False
        left, right = one[1], other[1]
        if unordered and all(item[0] == "$" for item in left + right):
            left, right = sorted(left), sorted(right)
        return all(alike(a, b, slack, unordered) for a, b in zip(left, right))
    if one[0] == ":" and slack:
        a, b = int(one[1]), int(other[1])
        return a == b or (min(a, b) > 90 and abs(a - b) <= slack)
    return one[1] == other[1]


class Pair:
    """Redis and Tidegate, asked the same."""

    def __init__(self, addresses):
        self.addresses = addresses

    def begin(self, protocols):
        self.connections = []
        for address in self.addresses:
            first = Connection(address)
            first.ask(["FLUSHALL"])
            first.close()
            self.connections.append([self.opened(address, protocol) for protocol in protocols])

    def opened(self, address, protocol):
        connection = Connection(address)
        connection.ask(["HELLO", str(protocol)])
        return connection

    def end(self):
        for connection in self.connections[0] + self.connections[1]:
            connection.close()

    def ask(self, place, words):
        """The two replies; connections that both were closed are opened again."""
        replies = [connections[place].ask(words) for connections in self.connections]
        name = words[0].lower()
        if name in ("quit", "post", "host:"):
            for address, connections in zip(self.addresses, self.connections):
                connections[place].close()
                connections[place] = Connection(address)
        same = alike(*replies, RELATIVE.get(name, 0), name in UNORDERED)
        return same, replies

    def differs(self, protocols, script):
        """The place of the first command that is answered differently, with the replies."""
        self.begin(protocols)
        try:
            for number, (place, words) in enumerate(script):
                same, replies = self.ask(place, words)
                if not same:
                    return number, replies
            return None
        finally:
            self.end()


def reduced(pair, protocols, script):
    """The fewest commands that still end in a difference of the last one's kind."""
    name = script[-1][1][0].lower()
    at = 0
    while at < len(script) - 1:
        shorter = script[:at] + script[at + 1:]
        found = pair.differs(protocols, shorter)
        if found and shorter[found[0]][1][0].lower() == name:
            script = shorter[:found[0] + 1]
        else:
            at += 1
    return script


def told(word):
    """A word as redis-cli takes it."""
    if re.fullmatch(r"[!#-&(-~]+", word):
        return word
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(c, c if " " <= c <= "~" else f"\\x{ord(c):02x}") for c in word) + '"'


def session(pair, seed):
    """Runs one session; the text of a difference, or None."""
    generator = Generator(seed)
    protocols = [generator.r.choice((2, 3)) for _ in range(CONNECTIONS)]
    script = [(generator.r.randrange(CONNECTIONS), generator.command()) for _ in range(COMMANDS_PER_SESSION)]
    found = pair.differs(protocols, script)
    if not found:
        return None
    short = reduced(pair, protocols, script[:found[0] + 1])
    again = pair.differs(protocols, short)
    replies = again[1] if again else found[1]
    lines = [f"  {place + 1} (RESP{protocols[place]})> " + " ".join(map(told, words)) for place, words in short]
    note = [] if again else ["  (not seen again when repeated: it depends on time or on what was before)"]
    return "\n".join([f"a difference, seed {seed}:", *lines, *note, f"  redis:    {replies[0]}", f"  tidegate: {replies[1]}"])


def raw(addresses):
    """What isn't a well-formed request: the bytes until the connection is closed must be the same."""
    count = 0
    for text in RAW:
        answers = []
        for address in addresses:
            connection = Connection(address)
            connection.socket.sendall(encoded(text))
            connection.socket.shutdown(socket.SHUT_WR)
            answers.append(connection.rest())
            connection.close()
        if answers[0] != answers[1]:
            yield f"a difference for the raw bytes {text!r}:\n  redis:    {answers[0]!r}\n  tidegate: {answers[1]!r}"
        count += 1
    print(f"{count} raw requests")


RAW = ["PING\r\n", "PING\n", "\r\n\r\nPING\r\n", "SET q \"a b\\x41\\n\"\r\nGET q\r\n", "SET q 'a\\'b\\n'\r\nGET q\r\n", "SET q \"a\r\n", "SET q \"a\"b\r\n",
       "*1\r\n$4\r\nPING\r\n", "*0\r\nPING\r\n", "*-1\r\nPING\r\n", "*x\r\n", "*\r\n", "*1\r\n:4\r\nPING\r\n", "*1\r\n$x\r\nPING\r\n",
       "*1\r\n$-1\r\n", "*1\r\n$536870913\r\n", "*2147483648\r\n", "*1\r\n$4\r\nPINGxxPING\r\n", "*1\r\n$\r\n", "*+1\r\n$4\r\nPING\r\n",
       "*01\r\n$4\r\nPING\r\n", "* 1\r\n$4\r\nPING\r\n", "*1 \r\n$4\r\nPING\r\n", "   PING   x  \r\n", "\tPING\r\n", "GET\r\n", "POST / HTTP/1.1\r\n",
       "Host: x\r\n", "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "*3\r\n$3\r\nSET\r\n$1\r\nq\r\n$0\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\nq\r\n", "x" * 70_000, "SET q \"\\xzz\\q\"\r\nGET q\r\n", "SET \"\" ''\r\nGET \"\"\r\n", "*1\r\n$0\r\n\r\nPING\r\n", "\"PING\"\r\n", "''\r\nPING\r\n"]


def started(folder):
    """redis-server, its socket's path and its process."""
    path = os.path.join(folder, "redis.sock")
    process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no",
                                "--dir", folder], stdout=subprocess.DEVNULL)
    until = time.monotonic() + REPLY_TIME_MAX_S
    while True:
        try:
            Connection(path).close()
            return path, process
        except OSError:
            assert time.monotonic() < until and process.poll() is None, "redis-server did not start"
            time.sleep(0.02)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--keep-going", action="store_true", help="report every difference, each kind once")
    options = parser.parse_args()
    folder = tempfile.mkdtemp()
    path, process = started(folder)
    try:
        return run(options, [path, ("127.0.0.1", options.port)])
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def run(options, addresses):
    pair, until, sessions, differences = Pair(addresses), time.monotonic() + options.seconds, 0, 0
    for difference in raw(addresses):
        print(difference)
        differences += 1
        if not options.keep_going:
            return 1
    kinds = set()
    while time.monotonic() < until:
        difference = session(pair, options.seed + sessions)
        sessions += 1
        if difference:
            kind = re.sub(r"[0-9]+", "", "".join(difference.splitlines()[-2:]))
            if kind not in kinds:
                print(difference, flush=True)
            kinds.add(kind)
            differences += 1
            if not options.keep_going:
                break
    print(f"seeds {options.seed} to {options.seed + sessions - 1}: {sessions} sessions of {COMMANDS_PER_SESSION} commands, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
