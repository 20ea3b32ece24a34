"""Refusal of connections while this process is out of descriptors: 503, then an orderly close.

A process that has no descriptor left cannot even accept a connection to refuse it. So a few descriptors are
kept in reserve (`Reserve`): one is closed, its number serves the connection until that is closed, and then it
is opened again. A refused connection is half-closed, and what still arrives is dropped for a bounded time, so
that no reset destroys the answer (RFC 9112 section 9.6).
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
"""What a call fails with that finds no free descriptor, see accept(2) and dup(2)."""

RESERVED = 16
"""Descriptors in reserve, which is also how many connections are refused at once."""

LINGER_SECONDS = 2.0
"""Seconds for which a refused connection may stay open."""

MAX_DROPPED_BYTES = 64 * 1024
"""Bytes that are read of a refused connection and dropped."""


class Reserve:
    """The reserve of one listening socket, and the connections that are being refused.

    `encrypted` says that clients speak TLS, in which nothing can be said before a handshake.
    """

    def __init__(self, reactor: Any, *, encrypted: bool = False) -> None:
        self._reactor = reactor
        self._encrypted = encrypted
        self._descriptors: list[int] = []
        self._refused: set[_Refused] = set()
        self._closed = False
        self.refill()

    def refill(self) -> None:
        """Open what is missing, as far as there are descriptors."""
        with suppress(OSError):
            while not self._closed and len(self._descriptors) + len(self._refused) < RESERVED:
                self._descriptors.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def refuse_next(self, listening: socket.socket) -> bool:
        """Accept and refuse one connection, at the cost of a descriptor in reserve.

        False when none is in reserve, or no connection waits.
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
        refused = _Refused(self._reactor, connection, self._closed_one)
        self._refused.add(refused)
        refused.begin(b"" if self._encrypted else refusal)

    def close(self) -> None:
        """Free all descriptors, and cut refused connections off. Allowed twice."""
        self._closed = True
        for refused in list(self._refused):
            refused.close()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _closed_one(self, refused: "_Refused") -> None:
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
        self._room = MAX_DROPPED_BYTES

    def begin(self, answer: bytes) -> None:
        """Send the answer, which fits into the buffer of a new socket, and end our side."""
        self._connection.setblocking(False)
        with suppress(OSError):
            self._connection.send(answer)
            self._connection.shutdown(socket.SHUT_WR)
        self._reactor.addReader(self)
        self._timeout = self._reactor.callLater(LINGER_SECONDS, self.close)

    def doRead(self) -> None:
        """Drop what has arrived; close at its end."""
        try:
            data = self._connection.recv(MAX_DROPPED_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._room -= len(data)
        if not data or self._room < 0:
            self.close()

    def close(self) -> None:
        """Close the connection. Allowed twice."""
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
        """The descriptor that the reactor watches."""
        return self._connection.fileno()

    def logPrefix(self) -> str:
        """The name in the log."""
        return "refused connection"
