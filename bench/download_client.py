"""Many large downloads: a client that counts the bytes and lets the kernel drop them.

wrk copies every byte out of the kernel, 8 KiB at a time, and parses it: with large files it would be the
client that is measured. Here the head of a response is read, and the rest is received with
``MSG_TRUNC``, which on TCP discards it uncopied, see tcp(7). One thread, keep-alive. A response
that is there as a whole takes two receiving calls; the next request one of sending.

Rejected: `selectors`, sockets with a timeout, and a wait between head and body: with them nginx was busy for
38 % at 64 KiB and 64 connections, and is now for 97 %.
"""

import itertools
import random
import re
import secrets
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.request_mixes import PROXIED_HEADS, Count, RequestMix

RECEIVE_BYTES = 4 * 2**20
"""Bytes that one call may drop."""

HEAD_BYTES = 1024
"""Bytes that one call reads of a head, and of the body behind it."""


def run(port: int, load: RequestMix, seconds: float) -> Count:
    """Download for so many seconds; a response that is not complete by then counts as far as it came."""
    counters = Counters(request_maker(load))
    readers: dict[int, Reader] = {}
    with select.epoll() as epoll:
        for _ in range(load.connections):
            reader = _open(port, counters)
            readers[reader.connection.fileno()] = reader
            epoll.register(reader.connection, select.EPOLLIN)
        started = time.monotonic()
        while (now := time.monotonic()) < started + seconds:
            for descriptor, _ in epoll.poll(started + seconds - now):
                readers[descriptor].read()
        spent = time.monotonic() - started
    for reader in readers.values():
        reader.connection.close()
    return Count(counters.ended, spent, counters.received, counters.errors)


def request_maker(load: RequestMix) -> Callable[[], bytes]:
    """Return a function that returns the next request, for a target drawn at random."""
    heads = [f"{load.method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode() for path in load.paths]
    if load.heads != PROXIED_HEADS:
        requests = [head + b"\r\n" for head in heads]
        return lambda: random.choice(requests)
    run_id, numbers = secrets.token_hex(12).encode(), itertools.count(1)

    def proxied() -> bytes:
        number = next(numbers)
        address = number >> 16 & 255, number >> 8 & 255, number & 255
        return b"%bX-Request-Id: %b%08x\r\nX-Forwarded-For: 10.%d.%d.%d\r\n\r\n" % (
            *(random.choice(heads), run_id, number),
            *address,
        )

    return proxied


@dataclass
class Counters:
    """Maker of requests, and counters, of all connections."""

    next_request: Callable[[], bytes]
    ended: int = 0
    received: int = 0
    errors: int = 0


class Reader:
    """One connection: sends a request, reads a head, drops a body, and repeats."""

    def __init__(self, connection: socket.socket, counters: Counters) -> None:
        self.connection = connection
        self._counters = counters
        self._left = 0
        self._head = b""
        self.request_next()

    def request_next(self) -> None:
        """Send a request; it fits the socket's buffer."""
        self._head, self._left = b"", -1
        self.connection.send(self._counters.next_request())

    def read(self) -> None:
        """Read what has arrived. Raises `ConnectionError` when the server closes the connection."""
        try:
            if self._left < 0:
                self._read_head()
            if self._left > 0:
                size = min(self._left, RECEIVE_BYTES)
                self._left -= self._received(self.connection.recv_into(_SINK, size, socket.MSG_TRUNC))
        except BlockingIOError:
            return
        if self._left == 0:
            self._counters.ended += 1
            self.request_next()

    def _read_head(self) -> None:
        data = self.connection.recv(HEAD_BYTES)
        self._received(len(data))
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            found = _LENGTH.search(head)
            self._counters.errors += not head.startswith(b"HTTP/1.1 200 ")
            self._left = int(found[1]) - len(rest) if found else 0

    def _received(self, count: int) -> int:
        if not count:
            raise ConnectionError("the server ended a connection")
        self._counters.received += count
        return count


_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_SINK = bytearray(RECEIVE_BYTES)
"""A buffer that the kernel requires, and never writes to."""


def _open(port: int, counters: Counters) -> Reader:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setblocking(False)
    return Reader(connection, counters)
