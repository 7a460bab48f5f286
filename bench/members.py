"""Fills a server with values of many members. Usage: members.py PORT hash|list|set|zset KEYS MEMBERS

Members are texts of 12 bytes, values of fields have 20, scores are whole numbers; each command brings ten members at most, so that
values grow as they do in use."""

import socket
import sys

port, kind, keys, members = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


def words(key, first, end):
    for n in range(first, end):
        member = b"m:%010d" % (key * 7919 + n)
        if kind == "hash":
            yield from (member, b"value of %011d" % n)
        elif kind == "zset":
            yield from (b"%d" % (n * 7919 % 1000003), member)
        else:
            yield member


def command(key, first, end):
    verb = {"hash": b"HSET", "list": b"RPUSH", "set": b"SADD", "zset": b"ZADD"}[kind]
    parts = [verb, b"%s:%08d" % (kind.encode(), key), *words(key, first, end)]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def main():
    sock = socket.create_connection(("127.0.0.1", port))
    replies = sock.makefile("rb")
    batch = []

    def flush():
        sock.sendall(b"".join(batch))
        for _ in batch:
            line = replies.readline()
            if not line.startswith(b":"):
                sys.exit(f"{line!r} is no count")
        batch.clear()

    # Round by round over all keys: none is filled in one go.
    for first in range(0, members, 10):
        for key in range(keys):
            batch.append(command(key, first, min(first + 10, members)))
            if len(batch) == 200:
                flush()
    flush()


main()
