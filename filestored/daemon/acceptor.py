"""Acceptor: accepts connections from a listening socket that another process may share.

Each connection is accepted when the socket is readable, so processes that share one queue share the work. The
endpoint string is parsed again on `AdoptingReactor`, which uses the open socket instead of binding one; so
wrappers of the endpoint apply. That of an ``ssl:`` endpoint is not: the certificate comes with the socket,
and a header of the PROXY protocol (``haproxy:ssl:``) is read before TLS begins.

Without free descriptors the acceptor pauses for `RETRY_SECONDS`; connections that still wait then are
answered 503 (`overload`).

Rejected: `reactor.adoptStreamPort`. It sets the mode of a Unix socket to 0666 and the queue to 50, whatever
the endpoint said; for TCP it raises the number of accepts per event on its own.
"""

import os
import socket
from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.daemon.listeners import ListeningSocket
from filestored.daemon.overload import NO_DESCRIPTORS, DescriptorReserve
from filestored.daemon.startup.endpoint_strings import PROXY_PREFIX, without_proxy
from filestored.http.transport.tls import Certificate, ServerTLS

RETRY_SECONDS = 0.1
"""Pause after a failed accept, mostly for lack of descriptors."""

MIN_WARNING_INTERVAL_SECONDS = 10.0
"""Minimum time between two warnings about failed accepts."""

Connect = Callable[[socket.socket, Any], None]
"""Connects a protocol of a factory to a duplicate of an accepted socket. Raises `OSError`."""


def accept_from(reactor: Any, listening: ListeningSocket, factory: Any) -> "Acceptor":
    """Start accepting connections for `factory`, until ``stopListening``. Raises `ValueError`."""
    adopting = AdoptingReactor(reactor, listening)
    proxied = listening.endpoint.startswith(PROXY_PREFIX)
    if listening.certificate is not None:
        return adopting.adopt_tls(factory, ServerTLS(listening.certificate), proxied=proxied)
    endpoint = without_proxy(listening.endpoint)
    if proxied:
        factory = _behind_proxy(factory)
    if endpoint.startswith("systemd:"):  # its descriptor number is that of the parent process
        adopting.adopt(factory)
    else:
        serverFromString(adopting, endpoint).listen(factory)
    if adopting.acceptor is None:
        raise ValueError(f"{listening.endpoint}: this endpoint cannot be shared between processes")
    return adopting.acceptor


def _behind_proxy(factory: Any) -> Any:
    """Return a factory that reads the header of the PROXY protocol before `factory` gets the connection.

    The connections have no local address: that in the header does not show that a client is on this machine.
    """
    from twisted.protocols.haproxy._exceptions import InvalidProxyHeader
    from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper, HAProxyWrappingFactory

    from filestored.http.transport.proxy_header import parser_of

    class ProxiedConnection(HAProxyProtocolWrapper):
        def dataReceived(self, data: bytes) -> None:
            if self._parser is None:
                try:
                    self._parser = parser_of(data)
                except InvalidProxyHeader:
                    self.loseConnection()
                    return
            super().dataReceived(data)

        def getHost(self) -> IPv4Address:
            return IPv4Address("TCP", "0.0.0.0", 0)  # noqa: S104  # nothing listens on it

    wrapping: Any = HAProxyWrappingFactory(factory)
    wrapping.protocol = ProxiedConnection
    return wrapping


class AdoptingReactor:
    """A reactor whose ``listen…`` methods accept from an open socket instead of binding one."""

    def __init__(self, reactor: Any, listening: ListeningSocket) -> None:
        self._reactor = reactor
        self._listening = listening
        self.acceptor: Acceptor | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adopt(self, factory: Any, *, encrypted: bool = False, connect: Connect | None = None) -> "Acceptor":
        """Start accepting for `factory`; `encrypted` if it uses TLS. `connect` makes other transports."""
        reserve = DescriptorReserve(self._reactor, encrypted=encrypted)
        connect = connect or self._connect
        self.acceptor = Acceptor(self._reactor, self._listening, factory, reserve, connect)
        self.acceptor.startListening()
        return self.acceptor

    def adopt_tls(self, factory: Any, tls: Any, *, proxied: bool = False) -> "Acceptor":
        """Start accepting TLS connections, which `tls` makes; `proxied` ones begin with a PROXY header."""
        if isinstance(tls, ServerTLS):
            acceptor = self._adopt_own_tls(factory, tls, proxied)
        else:
            from twisted.protocols.tls import TLSMemoryBIOFactory

            acceptor = self.adopt(TLSMemoryBIOFactory(tls, False, factory), encrypted=True)
        acceptor.tls = tls
        return acceptor

    def _adopt_own_tls(self, factory: Any, tls: ServerTLS, proxied: bool) -> "Acceptor":
        from filestored.http.transport.proxied_tls import ProxiedTLSConnection  # needs the extra "tls"
        from filestored.http.transport.tls_connection import TLSConnection, accept_tls

        transport = ProxiedTLSConnection if proxied else TLSConnection

        def connect(connection: socket.socket, factory: Any) -> None:
            accept_tls(connection, factory, tls, self._reactor, transport)

        return self.adopt(factory, encrypted=True, connect=connect)

    def _connect(self, connection: socket.socket, factory: Any) -> None:
        self._reactor.adoptStreamConnection(connection.fileno(), connection.family, factory)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> "Acceptor":
        """Replace `IReactorTCP.listenTCP`."""
        return self.adopt(factory)

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> "Acceptor":
        """Replace `IReactorUNIX.listenUNIX`."""
        return self.adopt(factory)

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> "Acceptor":
        """Replace `IReactorSSL.listenSSL`."""
        return self.adopt_tls(factory, contextFactory)


@implementer(IReadDescriptor, IListeningPort)
class Acceptor:
    """Accepts from a duplicate of a listening descriptor."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        listening: ListeningSocket,
        factory: Any,
        reserve: DescriptorReserve,
        connect: Connect,
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._reserve = reserve
        self._connect = connect
        self._warned = -inf
        self._socket = socket.socket(fileno=os.dup(listening.descriptor))
        self._socket.setblocking(False)
        self._pause: IDelayedCall | None = None
        self.tls: Any = None

    def use_certificate(self, certificate: Certificate | None) -> None:
        """Use a certificate for new TLS connections; has no effect on a socket without TLS."""
        if certificate is not None and isinstance(self.tls, ServerTLS):
            self.tls.use(certificate)

    def startListening(self) -> None:
        """Start accepting."""
        self._factory.doStart()
        self._reactor.addReader(self)

    def stopListening(self) -> "Deferred[None]":
        """Stop accepting; connections stay. Idempotent."""
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
        """Return the address of `socket.getsockname`."""
        return self._socket.getsockname()

    def doRead(self) -> None:
        """Accept one connection; any error leaves the listening socket open."""
        try:
            self._accept()
        except OSError as error:
            self._warn(error)
            self._reactor.removeReader(self)
            self._pause = self._reactor.callLater(RETRY_SECONDS, self._resume)

    def _accept(self) -> None:
        """Accept one connection, if one waits. Raises `OSError` when it cannot be accepted now."""
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was quicker, or the client has closed
        self._hand_over(connection)

    def _hand_over(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            self._connect(connection, self._factory)
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:  # it is duplicated for its transport
                self._warn(error)
                self._reserve.refuse(connection)
                return
            # else closed before its address was read
        except Exception:
            self._log.failure("a connection could not be set up")
        connection.close()

    def _warn(self, error: OSError) -> None:
        now = self._reactor.seconds()
        if now - self._warned >= MIN_WARNING_INTERVAL_SECONDS:
            self._warned = now
            self._log.warn("cannot accept connections for the moment: {reason}", reason=error.strerror)

    def _resume(self) -> None:
        """Accept again; refuse what cannot be accepted, while the reserve lasts."""
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
        """Return the descriptor that the reactor watches."""
        return self._socket.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """Stop accepting: the reactor ends, or reports an error of the descriptor."""
        self.stopListening()

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return type(self._factory).__name__
