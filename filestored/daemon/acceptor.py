"""Accepting from a listening socket that belongs to somebody else.

Flow: a `ListeningSocket` and a protocol factory -> `accept_from` -> connections, one for each time the socket
is readable, so that processes which share one queue share the work too. The endpoint string is parsed
again, on a reactor that takes the socket over where others would bind one: all that an endpoint wraps
around a factory, TLS above all, is there as well.

Without free descriptors the socket is left to the other processes for `PAUSE` seconds; connections that
wait for longer are answered 503 (`overload`).

Rejected: `reactor.adoptStreamPort`. For a Unix socket it sets the mode to 0666 and the queue to 50,
whatever the endpoint said; for TCP it raises the number of accepts in one go on its own.
"""

import os
import socket
from math import inf
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.daemon.listeners import ListeningSocket
from filestored.daemon.overload import NO_DESCRIPTORS, Reserve

PAUSE = 0.1
"""Seconds without accepting after it failed, most likely for want of descriptors."""

MIN_WARNING_INTERVAL_SECONDS = 10.0
"""Seconds between two warnings about that."""


def accept_from(reactor: Any, listening: ListeningSocket, factory: Any) -> "Acceptor":
    """Begin to accept connections for `factory`; end with ``stopListening``."""
    adopting = AdoptingReactor(reactor, listening)
    if listening.endpoint.startswith("systemd:"):  # speaks of a descriptor of the process that started us
        adopting.adopt(factory)
    else:
        serverFromString(adopting, listening.endpoint).listen(factory)
    if adopting.acceptor is None:
        raise ValueError(f"{listening.endpoint}: this endpoint cannot be shared between processes")
    return adopting.acceptor


class AdoptingReactor:
    """A reactor whose ``listen…`` methods accept from a socket that is there, instead of binding one."""

    def __init__(self, reactor: Any, listening: ListeningSocket) -> None:
        self._reactor = reactor
        self._listening = listening
        self.acceptor: Acceptor | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adopt(self, factory: Any, *, encrypted: bool = False) -> "Acceptor":
        """Accept for `factory`; `encrypted` says that it speaks TLS."""
        reserve = Reserve(self._reactor, encrypted=encrypted)
        self.acceptor = Acceptor(self._reactor, self._listening, factory, reserve)
        self.acceptor.startListening()
        return self.acceptor

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> "Acceptor":
        """Take the place of `IReactorTCP.listenTCP`."""
        return self.adopt(factory)

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> "Acceptor":
        """Take the place of `IReactorUNIX.listenUNIX`."""
        return self.adopt(factory)

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> "Acceptor":
        """Take the place of `IReactorSSL.listenSSL`."""
        from twisted.protocols.tls import TLSMemoryBIOFactory  # needs the extra "tls"

        return self.adopt(TLSMemoryBIOFactory(contextFactory, False, factory), encrypted=True)


@implementer(IReadDescriptor, IListeningPort)
class Acceptor:
    """Accepts from a duplicate of a listening descriptor, whose owner stays the owner."""

    _log = Logger()

    def __init__(self, reactor: Any, listening: ListeningSocket, factory: Any, reserve: Reserve) -> None:
        self._reactor = reactor
        self._factory = factory
        self._reserve = reserve
        self._warned = -inf
        self._socket = socket.socket(fileno=os.dup(listening.descriptor))
        self._socket.setblocking(False)
        self._pause: IDelayedCall | None = None

    def startListening(self) -> None:
        """Begin."""
        self._factory.doStart()
        self._reactor.addReader(self)

    def stopListening(self) -> "Deferred[None]":
        """Accept no more, at once; connections stay. Allowed twice."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()
            self._reserve.close()
            self._factory.doStop()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        return succeed(None)

    def getHost(self) -> Any:
        """The address as `socket.getsockname` gives it."""
        return self._socket.getsockname()

    def doRead(self) -> None:
        """Accept one connection. Whatever goes wrong with it, the socket stays."""
        try:
            self._accept()
        except OSError as error:
            self._warn(error)
            self._reactor.removeReader(self)
            self._pause = self._reactor.callLater(PAUSE, self._resume)

    def _accept(self) -> None:
        """Accept one connection, if one waits. Raises `OSError` when it cannot be accepted now."""
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was quicker, or the client has gone
        self._hand_over(connection)

    def _hand_over(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            self._reactor.adoptStreamConnection(connection.fileno(), connection.family, self._factory)
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:  # it is duplicated for the reactor
                self._warn(error)
                self._reserve.refuse(connection)
                return
            # else gone before its address could be asked for
        except Exception:
            self._log.failure("a connection could not be set up")
        connection.close()

    def _warn(self, error: OSError) -> None:
        now = self._reactor.seconds()
        if now - self._warned >= MIN_WARNING_INTERVAL_SECONDS:
            self._warned = now
            self._log.warn("cannot accept connections for the moment: {reason}", reason=error.strerror)

    def _resume(self) -> None:
        """Accept again; what still can't be accepted is refused, as far as the reserve goes."""
        self._pause = None
        self._reserve.refill()
        try:
            self._accept()
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                while self._reserve.refuse_next(self._socket):
                    pass
        self._reactor.addReader(self)

    def fileno(self) -> int:
        """The descriptor that the reactor watches."""
        return self._socket.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, or has lost faith in us."""
        self.stopListening()

    def logPrefix(self) -> str:
        """Who we are in the log."""
        return type(self._factory).__name__
