"""Many large downloads: a client that counts the bytes and lets the kernel drop them.

wrk copies every byte out of the kernel, 8 KiB at a time, and parses it: with large files it would be the
client that is measured. Here the head of a response is read, and the rest is received with
``MSG_TRUNC``, which on TCP discards it uncopied, see tcp(7). One thread, blocking nowhere, keep-alive.
"""

import random
import re
import selectors
import socket
import time
from dataclasses import dataclass

from bench.request_mixes import Count, RequestMix

RECEIVE_BYTES = 4 * 2**20
"""Bytes that one call may drop."""


def run(port: int, load: RequestMix, seconds: float) -> Count:
    """Download for so many seconds; a response that is not complete by then counts as far as it came."""
    requests = [f"{load.method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in load.paths]
    counters = Counters(requests)
    with selectors.DefaultSelector() as selector:
        readers = [_open(port, counters, selector) for _ in range(load.connections)]
        started = time.monotonic()
        while (now := time.monotonic()) < started + seconds:
            for key, _ in selector.select(started + seconds - now):
                key.data.read()
        spent = time.monotonic() - started
        for reader in readers:
            reader.connection.close()
    return Count(counters.ended, spent, counters.received, counters.errors)


@dataclass
class Counters:
    """Request and counters of all connections."""

    requests: list[bytes]
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
        """Send a request drawn at random; it fits the socket's buffer."""
        self._head, self._left = b"", -1
        self.connection.send(random.choice(self._counters.requests))

    def read(self) -> None:
        """Read what has arrived. Raises `ConnectionError` when the server closes the connection."""
        if self._left < 0:
            count = self._read_head()
        else:
            count = self.connection.recv_into(_SINK, min(self._left, RECEIVE_BYTES), socket.MSG_TRUNC)
            self._left -= count
        if not count:
            raise ConnectionError("the server ended a connection")
        self._counters.received += count
        if self._left == 0:
            self._counters.ended += 1
            self.request_next()

    def _read_head(self) -> int:
        data = self.connection.recv(4096)
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            self._counters.errors += not head.startswith(b"HTTP/1.1 200 ")
            self._left = int(found[1]) - len(rest) if found else 0
        return len(data)


_SINK = bytearray(RECEIVE_BYTES)
"""A buffer that the kernel requires, and never writes to."""


def _open(port: int, counters: Counters, selector: selectors.BaseSelector) -> Reader:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    reader = Reader(connection, counters)
    selector.register(connection, selectors.EVENT_READ, reader)
    return reader
