"""HTTP client on a socket pair: the real factory and channel on a plain socket, without a reactor.

The server sends files and cached responses as it does over TCP. Each call of the client returns when the
server waits for input, so two servers can be compared step by step.
"""

import socket
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.task import Clock
from zope.interface import implementer

from filestored.http.factory import HTTPFactory
from filestored.http.transport.output import IEventBatches
from tests.http_clients.in_memory import InMemoryClient, MemoryTransport

LOOPBACK = "127.0.0.1"

SEND_BUFFER_BYTES = 16 * 1024
"""So few bytes of a response are sent before the client reads."""


@implementer(IEventBatches)
class EventBatch:
    """The reactor of a transport: the events of a batch, which the test ends."""

    def __init__(self) -> None:
        self._actions: list[Callable[[], None]] = []
        self.call_after_events = self._actions.append

    def end(self) -> None:
        """Call the actions after the events."""
        while self._actions:
            self._actions.pop(0)()


@implementer(ISystemHandle)
class SocketTransport(MemoryTransport):
    """The server's end of a socket pair."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        super().__init__(hostAddress=IPv4Address("TCP", host, 9000))
        self.reactor = EventBatch()
        self._socket = connection

    def getHandle(self) -> socket.socket:
        return self._socket

    def startWriting(self) -> None:
        """Do nothing: the client lets the server continue when it has read."""


class SocketPairClient(InMemoryClient):
    """A client connection to `factory`, whose time `clock` gives. Close it."""

    _ends: tuple[socket.socket, ...] = ()

    def __init__(self, factory: HTTPFactory, clock: Clock) -> None:
        self.clock = clock
        self.factory = factory
        self.connect()

    def connect(self, host: str = LOOPBACK) -> None:
        """Open a new connection to this address of the server."""
        self.close()
        self._ends = server, _ = socket.socketpair()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        for end in self._ends:
            end.setblocking(False)
        self.channel = self.factory.buildProtocol(None)
        self.transport = SocketTransport(server, host)
        self.transport.protocol = self.channel
        self.channel.makeConnection(self.transport)

    def close(self) -> None:
        """Close the connection on the client side."""
        if self._ends and self.connected:
            self.disconnect()
        for end in self._ends:
            end.close()
        self._ends = ()

    def run_reactor(self) -> None:
        """End the batch of events, and run delayed calls."""
        self.transport.reactor.end()
        super().run_reactor()

    @property
    def open(self) -> bool:
        """True while the server reads requests."""
        return bool(self.connected and not self.transport.half_closed)

    def received(self) -> bytes:
        """Return all bytes that the server sends until it waits for the client."""
        parts = []
        while data := self._receive():
            parts.append(data)
            if self.connected and self.transport.producer is not None:
                self.transport.producer.resumeProducing()
                self.run_reactor()
        return b"".join(parts)

    def _receive(self) -> bytes:
        with suppress(BlockingIOError):
            return self._ends[1].recv(1 << 18)
        return b""
