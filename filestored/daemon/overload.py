"""Refusal of connections while no descriptor is free: 503, then an orderly close.

A process without free descriptors cannot accept a connection to refuse it. So `DescriptorReserve` holds a
few: one is closed, its number serves the connection until that is closed, and then it is opened again. A
refused connection is half-closed, and its input is read for a bounded time, so that no reset destroys the
response (RFC 9112 section 9.6).
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from errno import EMFILE, ENFILE
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.http.response import format_error

NO_DESCRIPTORS = frozenset([EMFILE, ENFILE])
"""Errors of calls that find no free descriptor, see accept(2) and dup(2)."""

RESERVED_DESCRIPTORS = 16
"""Number of reserved descriptors, and of connections refused at once."""

LINGER_SECONDS = 2.0
"""Maximum seconds that a refused connection stays open."""

MAX_DROPPED_BYTES = 64 * 1024
"""Maximum bytes read from a refused connection and dropped."""


class DescriptorReserve:
    """The reserved descriptors of one listening socket, and the connections being refused.

    `encrypted` if clients use TLS: no response can be sent before the handshake.
    """

    def __init__(self, reactor: Any, *, encrypted: bool = False) -> None:
        self._reactor = reactor
        self._encrypted = encrypted
        self._descriptors: list[int] = []
        self._refused: set[_Refused] = set()
        self._closed = False
        self.refill()

    def refill(self) -> None:
        """Open missing descriptors, while any are free."""
        with suppress(OSError):
            while not self._closed and len(self._descriptors) + len(self._refused) < RESERVED_DESCRIPTORS:
                self._descriptors.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def refuse_next(self, listening: socket.socket) -> bool:
        """Accept and refuse one connection with a reserved descriptor.

        Return False when no descriptor is reserved or no connection waits.
        """
        if not self._descriptors:
            return False
        os.close(self._descriptors.pop())
        try:
            connection, _ = listening.accept()
        except OSError:
            self.refill()
            return False
        self.refuse(connection)
        return True

    def refuse(self, connection: socket.socket) -> None:
        """Answer 503 and close the connection."""
        refusal = format_error(503, "too many open files", (b"Retry-After", b"1"))
        refused = _Refused(self._reactor, connection, self._on_closed)
        self._refused.add(refused)
        refused.begin(b"" if self._encrypted else refusal)

    def close(self) -> None:
        """Close all descriptors and refused connections. Idempotent."""
        self._closed = True
        for refused in list(self._refused):
            refused.close()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _on_closed(self, refused: "_Refused") -> None:
        self._refused.discard(refused)
        self.refill()


@implementer(IReadDescriptor)
class _Refused:
    """A connection that is being refused."""

    def __init__(
        self, reactor: Any, connection: socket.socket, on_close: "Callable[[_Refused], None]"
    ) -> None:
        self._reactor = reactor
        self._connection = connection
        self._on_close = on_close
        self._remaining = MAX_DROPPED_BYTES

    def begin(self, answer: bytes) -> None:
        """Send the response, which fits the buffer of a new socket, and half-close."""
        self._connection.setblocking(False)
        with suppress(OSError):
            self._connection.send(answer)
            self._connection.shutdown(socket.SHUT_WR)
        self._reactor.addReader(self)
        self._timeout = self._reactor.callLater(LINGER_SECONDS, self.close)

    def doRead(self) -> None:
        """Drop received bytes; close at the end of input."""
        try:
            data = self._connection.recv(MAX_DROPPED_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._remaining -= len(data)
        if not data or self._remaining < 0:
            self.close()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._connection.fileno() >= 0:
            self._reactor.removeReader(self)
            self._connection.close()
            if self._timeout.active():
                self._timeout.cancel()
            self._on_close(self)

    def connectionLost(self, reason: Failure) -> None:
        """Close: the connection is broken, or the reactor ends."""
        self.close()

    def fileno(self) -> int:
        """Return the descriptor that the reactor watches."""
        return self._connection.fileno()

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return "refused connection"
