"""TLS connections on sockets that OpenSSL reads and writes itself.

`TLSConnection` is the transport of an accepted socket. Each event of the socket continues the handshake,
reads records, or sends. The protocol is connected before the handshake; output waits until it is complete.

A client that has sent close_notify may still read (RFC 8446 section 6.1), like one that has half-closed a
plain socket. An end of input without close_notify is a lost connection. `TLSConnection.abortConnection` sends
no close_notify, so a client recognises a truncated response.

Rejected: Twisted's `TLSMemoryBIOProtocol`, for connections that begin with TLS. It copies each byte four
times more, and sends in the next iteration of the reactor.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection, Server
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.http.transport.output import IOutputTransport
from filestored.http.transport.tls import ServerTLS
from filestored.http.transport.tls_output import MAX_RECORD_BYTES, MAX_SEND_BYTES, TLSOutput

End = ConnectionLost | ConnectionDone | None
"""The reason for which no input follows; None while some may."""


@implementer(ISSLTransport, IOutputTransport)
class TLSConnection(Server):
    """The transport of an accepted socket on which the client speaks TLS."""

    _established = False
    _paused = False
    _read_needs_room = False
    """True while OpenSSL has to send before it can read on: the reply to a KeyUpdate."""

    def __init__(
        self, connection: socket.socket, protocol: Any, client: Any, reactor: Any, tls: ServerTLS
    ) -> None:
        self._tls: Any = tls.connection_on(connection)
        self.repstr = f"<TLS connection of {client[0]}>"
        no_port: Any = None  # as for `adoptStreamConnection`
        super().__init__(connection, protocol, client, no_port, client[1], reactor)
        self.setTcpNoDelay(True)  # OpenSSL writes each record by itself

    def make_output(self, drained: Callable[[], None]) -> TLSOutput:
        """See `IOutputTransport.make_output`."""
        return TLSOutput(self, self, drained)

    def getPeerCertificate(self) -> None:
        """Return None: clients are not asked for certificates."""

    # --- sending --------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """Send bytes, as `socket.send` does; return their number. The flags have no effect.

        Raises `BlockingIOError`, after which the next call has to begin with the same bytes;
        `ConnectionError` if the connection fails.
        """
        if not self._established:
            raise BlockingIOError
        sent, size = 0, min(len(data), MAX_SEND_BYTES)
        try:
            sent = self._tls.send(data)  # one record
            while sent < size:
                sent += self._tls.send(memoryview(data)[sent:size])
        except SSL.WantWriteError:
            if not sent:
                raise BlockingIOError from None
        except SSL.Error:
            raise ConnectionError from None
        return sent

    def getpeername(self) -> Any:
        """See `socket.getpeername`."""
        return self.socket.getpeername()

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """Send from the transport's own buffer."""
        try:
            return self.send(data) if data else 0
        except BlockingIOError:
            return 0
        except ConnectionError:
            return CONNECTION_LOST

    def doWrite(self) -> Any:  # `abortConnection` replaces it
        """Continue the handshake, a read that has to send, or the output."""
        if not self._established:
            return self._shake_hands()
        if self._read_needs_room:
            self._read_needs_room = False
            if not self._paused:
                self.startReading()
            return self.doRead()
        return super().doWrite()

    # --- receiving ------------------------------------------------------------------------------

    def doRead(self) -> End:  # type: ignore[override]  # `abortConnection` replaces it
        """Continue the handshake, or pass on the content of records."""
        if not self._established:
            return self._shake_hands()
        data, end = self._receive()
        if data:
            self.protocol.dataReceived(data)
        return end if self.connected else None

    def pauseProducing(self) -> None:
        """Stop reading."""
        self._paused = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._paused = False
        super().resumeProducing()

    def _receive(self) -> tuple[bytes, End]:
        """Return the content of one record, or of several while a body arrives, and the end of input."""
        try:
            data = self._tls.recv(MAX_RECORD_BYTES)
        except SSL.Error as error:
            return b"", self._end_of_input(error)
        if len(data) == MAX_RECORD_BYTES or self.bufferSize > Connection.bufferSize:
            return self._receive_more(data)
        return data, None

    def _receive_more(self, first: bytes) -> tuple[bytes, End]:
        pieces, size, end = [first], len(first), None
        try:
            while size < self.bufferSize:
                pieces.append(self._tls.recv(MAX_RECORD_BYTES))
                size += len(pieces[-1])
        except SSL.Error as error:
            end = self._end_of_input(error)
        return b"".join(pieces), end

    def _end_of_input(self, error: SSL.Error) -> End:
        """Return the reason for which no input follows, or None."""
        match error:
            case SSL.WantReadError():
                return None
            case SSL.WantWriteError():
                self._read_needs_room = True
                self.stopReading()
                self.startWriting()
                return None
            case SSL.ZeroReturnError():
                return CONNECTION_DONE
        return CONNECTION_LOST

    # --- begin and end --------------------------------------------------------------------------

    def _shake_hands(self) -> ConnectionLost | None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self.stopWriting()
        except SSL.WantWriteError:
            self.startWriting()
        except SSL.Error:
            with suppress(OSError):
                self.socket.recv(
                    self.bufferSize
                )  # unread input would reset the connection, and lose the alert
            return CONNECTION_LOST
        else:
            self._established = True
            self.startWriting()  # output may wait
        return None

    def loseConnection(self) -> None:
        """Close the connection after all output; at once before the handshake is complete."""
        if self._established:
            super().loseConnection()
        else:
            self.abortConnection()

    def loseWriteConnection(self) -> None:
        """Send close_notify after all output; close at once before the handshake is complete."""
        if self._established:
            super().loseWriteConnection()
        else:
            self.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        """Release OpenSSL's connection before the number of the descriptor is free for another one."""
        self._established = False
        self._tls = None
        super().connectionLost(reason)

    def _postLoseConnection(self) -> ConnectionDone:
        self._send_close_notify()
        self._discard_input()
        return CONNECTION_DONE

    def _closeWriteConnection(self) -> None:
        self._send_close_notify()
        super()._closeWriteConnection()

    def _send_close_notify(self) -> None:
        with suppress(SSL.Error):
            self._tls.shutdown()

    def _discard_input(self) -> None:
        """Discard what has arrived, such as close_notify: unread, it would reset the connection."""
        with suppress(OSError):
            self.socket.recv(self.bufferSize)


def accept_tls(
    connection: socket.socket,
    factory: Any,
    tls: ServerTLS,
    reactor: Any,
    transport: type[TLSConnection] = TLSConnection,
) -> None:
    """Connect a protocol of `factory` to an accepted socket, which is duplicated. Raises `OSError`."""
    client = connection.getpeername()
    address = IPv6Address if connection.family == socket.AF_INET6 else IPv4Address
    protocol = factory.buildProtocol(address("TCP", *client))
    if protocol is not None:
        protocol.makeConnection(transport(connection.dup(), protocol, client, reactor, tls))
