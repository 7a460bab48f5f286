#!/usr/bin/env python3
"""Consumers of a stream's group, each in lockstep: XREADGROUP of one entry, then XACK of it, until COUNT entries are acknowledged.

    groups.py PORT STREAM CONNECTIONS COUNT

Prints 'acknowledged per second, p99 of a read and its acknowledgement in ms'. The group's name is g, it must exist and have COUNT entries.
"""
import select
import socket
import sys
import time

port, stream, connections, count = int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3]), int(sys.argv[4])


def words(*parts):
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


poll = select.epoll()
consumers = {}
for number in range(connections):
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    read = words(b"XREADGROUP", b"GROUP", b"g", b"c%d" % number, b"COUNT", b"1", b"STREAMS", stream, b">")
    consumers[link.fileno()] = [link, read, time.perf_counter(), None]
    poll.register(link, select.EPOLLIN)
begun = time.perf_counter()
for link, read, _, _ in consumers.values():
    link.sendall(read)
times, issued = [], connections
while len(times) < count:
    for at, _ in poll.poll():
        consumer = consumers[at]
        link, read, since, entry = consumer
        # A reply is one small segment, or the connection's next event brings the rest.
        consumer[3] = reply = (entry or b"") + link.recv(4096)
        if reply.startswith(b":"):
            if reply != b":1\r\n":
                sys.exit(f"XACK: {reply}")
            now = time.perf_counter()
            times.append(now - since)
            consumer[2:] = now, None
            if issued < count:
                issued += 1
                link.sendall(read)
        elif reply.startswith(b"*"):
            # *1 *2 $n stream *1 *2 $n id *2 $1 f $n value
            lines = reply.split(b"\r\n")
            if len(lines) == 14:
                consumer[3] = None
                link.sendall(words(b"XACK", stream, b"g", lines[7]))
        else:
            sys.exit(f"XREADGROUP: {reply}")
elapsed = time.perf_counter() - begun
times.sort()
print(f"{count / elapsed:.0f} {times[len(times) * 99 // 100] * 1000:.3f}")
