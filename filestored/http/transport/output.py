"""The way out of a connection.

Bytes and file ranges flow in, in order; out they go to the socket at once, as far as it takes
them. What it does not take waits here, and whoever produces it is paused until it is gone:
an outlet is `pending`, then calls `drained`.

`SocketOutput` writes to a plain socket (TCP, Unix) itself: one ``send`` per response in the usual
case, and ``sendfile(2)`` for ranges. `TransportOutput` serves all other transports (TLS, memory).

Rejected: the transport's own buffer for plain sockets. It waits for the next turn of the
reactor with every response, and does not say when it is empty.
"""

from collections import deque
from collections.abc import Callable
from socket import MSG_MORE, socket
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer, ISystemHandle, ITCPTransport
from twisted.internet.tcp import Connection
from zope.interface import implementer

from filestored.http.transport.sendfile import FileRange
from filestored.interfaces import IFileSource


class IStreamTransport(ITCPTransport, IConsumer, IPushProducer):
    """What all of Twisted's stream transports provide, TLS and Unix sockets included."""


@implementer(IPushProducer)
class TransportOutput:
    """Writes through a transport, and is paused by it.

    `taken` grows whenever the peer takes something; it is there to be compared with itself.
    """

    def __init__(self, transport: IStreamTransport, drained: Callable[[], None]) -> None:
        self._transport = transport
        self._drained = drained
        self.pending = False
        self.taken = 0
        transport.registerProducer(self, True)

    def write(self, data: bytes, more: bool = False) -> None:
        """Send bytes after all that was given before."""
        self._transport.write(data)

    def finish(self) -> None:
        """End our side of the connection; the peer may still send."""
        self.close()

    def close(self) -> None:
        """End the connection after all that was given."""
        self._transport.unregisterProducer()
        self._transport.loseConnection()

    def lost(self) -> None:
        """The connection is gone."""
        self.pending = False

    def pauseProducing(self) -> None:
        """The transport has enough for now."""
        self.pending = True

    def resumeProducing(self) -> None:
        """The transport wants more."""
        self.pending = False
        self.taken += 1
        self._drained()

    def stopProducing(self) -> None:
        """The transport is gone; the protocol hears of it too."""


@implementer(IPullProducer)
class SocketOutput:
    """Writes to a non-blocking plain socket by itself; the transport only says when it is writable."""

    def __init__(self, transport: Connection, drained: Callable[[], None]) -> None:
        self._transport = transport
        self._socket: socket = transport.getHandle()
        self._drained = drained
        self._queue: deque[FileRange | _Bytes] = deque()
        self._waiting = False
        self.taken = 0

    @property
    def pending(self) -> bool:
        """Whether something that was given has not been taken yet."""
        return bool(self._queue)

    def write(self, data: bytes, more: bool = False) -> None:
        """Send bytes after all that was given before; `more` says that a file range follows at once."""
        if not self._queue:
            data = self._send(data, MSG_MORE if more else 0)
        if data:
            self._queue.append(_Bytes(data))
            self._wait()

    def write_file(self, source: IFileSource, start: int, stop: int) -> Deferred[None] | None:
        """Send a range of a file; see `filestored.interfaces.IFileSender`."""
        piece = FileRange(source, start, stop, self._start_if_ready)
        if not self._queue and self._push(piece):
            return None
        self._queue.append(piece)
        self._wait()
        return piece.wait()

    def finish(self) -> None:
        """End our side of the connection; the peer may still send."""
        self._transport.loseWriteConnection()

    def close(self) -> None:
        """End the connection after all that was given."""
        self._transport.loseConnection()

    def lost(self) -> None:
        """The connection is gone: let go of everything that waits."""
        queue, self._queue = self._queue, deque()
        for piece in queue:
            piece.end()

    # --- IPullProducer ------------------------------------------------------------------------

    def resumeProducing(self) -> None:
        """The socket is writable again."""
        if self._waiting:
            self._flush()
            if not self._queue:
                self._stop_waiting()
                self._drained()

    def stopProducing(self) -> None:
        """The transport is gone; the protocol hears of it too."""

    # --- the queue ----------------------------------------------------------------------------

    def _send(self, data: bytes, flags: int) -> bytes:
        """Send what the socket takes, answer the rest: all of it, when the connection can't go on."""
        try:
            sent = self._socket.send(data, flags)
        except BlockingIOError:
            return data
        except OSError:
            self._transport.abortConnection()
            return data
        self.taken += sent
        return data[sent:] if sent < len(data) else b""

    def _flush(self) -> None:
        """Send from the queue, one turn's worth."""
        while self._queue:
            try:
                gone = self._push(self._queue[0])
            except OSError as error:
                self._queue.popleft().end(error)
                return
            if not gone:
                self._wait()
                return
            self._queue.popleft().end()

    def _push(self, piece: "FileRange | _Bytes") -> bool:
        """Send as much of a piece as the socket takes in a turn; answer whether nothing of it is left to do.

        When the connection can't go on, the piece waits for its end. Raises `OSError` when the file can't be
        read.
        """
        try:
            self.taken += piece.send(self._socket)
        except BlockingIOError:
            return False
        except OSError as error:
            if piece.is_file_error(error, self._socket):
                raise
            self._transport.abortConnection()
            return False
        return piece.finished

    def _wait(self) -> None:
        """Ask to be called when the socket is writable, and what is to be sent is there."""
        if not self._waiting:
            self._transport.registerProducer(self, False)
            self._waiting = True
        self._start_if_ready()

    def _start_if_ready(self) -> None:
        """The first piece may be ready now."""
        if self._waiting and self._queue and self._queue[0].ready:
            self._transport.startWriting()

    def _stop_waiting(self) -> None:
        self._waiting = False
        self._transport.unregisterProducer()


class _Bytes:
    """Bytes that wait to be sent."""

    ready = True

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    @property
    def finished(self) -> bool:
        return not self._data

    def end(self, error: OSError | None = None) -> None:
        """Nobody waits for them."""

    def is_file_error(self, error: OSError, to: socket) -> bool:
        """They can't fail."""
        return False

    def send(self, to: socket) -> int:
        sent = to.send(self._data)
        self._data = self._data[sent:]
        return sent


Output = SocketOutput | TransportOutput


def make_output(transport: IStreamTransport, drained: Callable[[], None]) -> Output:
    """The best way out that `transport` allows."""
    if ISystemHandle.providedBy(transport) and isinstance(transport.getHandle(), socket):
        return SocketOutput(cast("Connection", transport), drained)
    return TransportOutput(transport, drained)
