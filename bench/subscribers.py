#!/usr/bin/env python3
"""Subscribers of one channel who count the bytes that reach them.

    subscribers.py PORT CHANNEL SUBSCRIBERS BYTES

Prints 'ready' once all are subscribed, and how long after that the last one had its BYTES of messages; fails if more come.
"""
import select
import socket
import sys
import time

port, channel, count, wanted = int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3]), int(sys.argv[4])
poll = select.epoll()
subscribers = {}
confirmed = b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n" % (len(channel), channel)
for _ in range(count):
    link = socket.create_connection(("127.0.0.1", port))
    link.sendall(b"*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n" % (len(channel), channel))
    held = b""
    while len(held) < len(confirmed):
        held += link.recv(4096)
    if held != confirmed:
        sys.exit(f"SUBSCRIBE: {held}")
    subscribers[link.fileno()] = [link, wanted]
    poll.register(link, select.EPOLLIN)
print("ready", flush=True)
begun, left, buffer = time.perf_counter(), count, bytearray(1 << 20)
while left:
    for at, _ in poll.poll():
        subscriber = subscribers[at]
        got = subscriber[0].recv_into(buffer)
        subscriber[1] -= got
        if got == 0 or subscriber[1] < 0:
            sys.exit(f"a subscriber was closed or got too much: {subscriber[1]} bytes left")
        left -= subscriber[1] == 0
print(f"{time.perf_counter() - begun:.3f}")
