"""Output of a connection: bytes and file ranges, in order, to the socket.

All that the socket accepts is sent at once, or after the next few events if the write is batched. The rest is
queued: the output is `pending`, and calls `drained` when the queue is empty. Producers are paused meanwhile.

`SocketOutput` writes to a plain socket (TCP, Unix) itself: one ``send`` per response in the usual case, and
``sendfile(2)`` for ranges. A transport may have its own output, as TLS connections do (`tls_output`).
`TransportOutput` serves all others (behind a PROXY header without TLS, TLS of a plugin, memory).

Rejected: the transport's own buffer for plain sockets. It delays each response to the next iteration of the
reactor, and does not report when it is empty.
"""

from collections import deque
from collections.abc import Callable
from socket import MSG_MORE, socket
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer, ISystemHandle, ITCPTransport
from twisted.internet.tcp import Connection
from zope.interface import Attribute, Interface, implementer

from filestored.http.transport.sendfile import FileEnded, FileRange, Sender
from filestored.interfaces import IFileSource

MAX_BATCHED_BYTES = 256 * 1024
"""Bytes of the longest range of a file that is sent together with responses to other clients."""


class IStreamTransport(ITCPTransport, IConsumer, IPushProducer):
    """The interfaces of all stream transports of Twisted, TLS and Unix sockets included."""


@implementer(IPushProducer)
class TransportOutput:
    """Output through a transport, which pauses it.

    `taken` grows whenever the peer takes something; it has no unit.
    """

    def __init__(self, transport: IStreamTransport, drained: Callable[[], None]) -> None:
        self._transport = transport
        self._drained = drained
        self.pending = False
        self.taken = 0
        transport.registerProducer(self, True)

    def write(self, data: bytes, more: bool = False) -> None:
        """Send bytes after all earlier output."""
        self._transport.write(data)

    def finish(self) -> None:
        """Close the sending side of the connection; the peer may still send."""
        self.close()

    def close(self) -> None:
        """Close the connection after all output."""
        self._transport.unregisterProducer()
        self._transport.loseConnection()

    def end_linger(self) -> None:
        """Close the connection at once, after `finish`; `close` may wait for the peer."""
        self._transport.abortConnection()

    def lost(self) -> None:
        """Note that the connection is lost."""
        self.pending = False

    def pauseProducing(self) -> None:
        """Note that the transport's buffer is full."""
        self.pending = True

    def resumeProducing(self) -> None:
        """Note that the transport's buffer has drained."""
        self.pending = False
        self.taken += 1
        self._drained()

    def stopProducing(self) -> None:
        """Do nothing: the protocol is notified of a lost connection, too."""


class IEventBatches(Interface):
    """Optional, of the reactor of a transport: it dispatches the events of many connections together."""

    call_after_events: Callable[[Callable[[], None]], None] = Attribute(
        "Calls an action after the next few events, or when there are none left. It must not raise."
    )


@implementer(IPullProducer)
class SocketOutput:
    """Output to a non-blocking plain socket; the transport only reports when it is writable.

    `taken` is the number of bytes sent.
    """

    _batched = b""
    _in_batch = False

    def __init__(self, transport: Connection, sender: Sender, drained: Callable[[], None]) -> None:
        self._transport = transport
        self._sender = sender
        self._drained = drained
        self._queue: deque[FileRange | _Bytes] = deque()
        self._waiting = False
        self.taken = 0
        reactor = getattr(transport, "reactor", None)
        self._call_after_events = reactor.call_after_events if IEventBatches.providedBy(reactor) else None

    @property
    def pending(self) -> bool:
        """True while output is queued, a batched write included."""
        return bool(self._queue or self._batched)

    def write(self, data: bytes, more: bool = False) -> None:
        """Send bytes after all earlier output; `more` announces a file range."""
        if self._batched:
            self._send_batched()
        self._send(data, MSG_MORE if more else 0)

    def write_batched(self, data: bytes) -> None:
        """Send bytes after all earlier output, together with the responses to other clients' requests.

        A client on this machine is then woken once for many responses. The output is `pending` until then.
        """
        if self._call_after_events is None or self.pending:
            self.write(data)
        else:
            self._batched = data
            self._in_batch = True
            self._call_after_events(self._end_batch)

    def write_head_and_file(
        self, head: bytes, source: IFileSource, start: int, stop: int, ended: FileEnded
    ) -> None:
        """Send bytes and a range of a file after all earlier output; batched if it is short."""
        if self._batched:
            self._send_batched()
        piece = self._make_range(source, start, stop)
        piece.ended = ended
        self._queue += (_Bytes(head, MSG_MORE), piece)
        if self._waiting:
            return
        if self._call_after_events is None or stop - start > MAX_BATCHED_BYTES:
            self._flush()
        elif not self._in_batch:
            self._in_batch = True
            self._call_after_events(self._end_batch)

    def write_file(self, source: IFileSource, start: int, stop: int) -> Deferred[None] | None:
        """Send a range of a file; see `filestored.interfaces.IFileSender`."""
        if self._batched:
            self._send_batched()
        piece = self._make_range(source, start, stop)
        if not self._queue and self._push(piece):
            return None
        self._queue.append(piece)
        self._wait()
        return piece.wait()

    def finish(self) -> None:
        """Close the sending side of the connection; the peer may still send."""
        self._transport.loseWriteConnection()

    def close(self) -> None:
        """Close the connection after all output."""
        self._transport.loseConnection()

    def end_linger(self) -> None:
        """Close the connection after `finish` without a reset: the kernel still sends to a slow reader."""
        self._transport.loseConnection()

    def lost(self) -> None:
        """Drop the queue of a lost connection."""
        self._batched, self._in_batch = b"", False
        queue, self._queue = self._queue, deque()
        for piece in queue:
            piece.end()

    # --- IPullProducer ------------------------------------------------------------------------

    def resumeProducing(self) -> None:
        """Send from the queue: the socket is writable."""
        if self._waiting:
            self._flush()
            if not self._queue:
                self._stop_waiting()
                self._drained()

    def stopProducing(self) -> None:
        """Do nothing: the protocol is notified of a lost connection, too."""

    # --- the queue ----------------------------------------------------------------------------

    def _make_range(self, source: IFileSource, start: int, stop: int) -> FileRange:
        return FileRange(source, start, stop, self._start_if_ready)

    def _end_batch(self) -> None:
        """Send what was batched; report that the output is drained, or queue the rest."""
        if not self._in_batch:
            return
        self._in_batch = False
        if self._batched:
            self._send_batched()
        else:
            self._flush()
        if not self._queue:
            self._drained()

    def _send_batched(self) -> None:
        data, self._batched = self._batched, b""
        self._send(data, 0)

    def _send(self, data: bytes | memoryview, flags: int) -> None:
        """Send as much as the socket accepts, and queue the rest: all of it if the connection fails."""
        if not self._queue:
            try:
                sent = self._sender.send(data, flags)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._transport.abortConnection()
                sent = 0
            self.taken += sent
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        self._queue.append(_Bytes(data))
        self._wait()

    def _flush(self) -> None:
        while self._queue:
            try:
                finished = self._push(self._queue[0])
            except OSError as error:
                self._queue.popleft().end(error)
                return
            if not finished:
                self._wait()
                return
            self._queue.popleft().end()

    def _push(self, piece: "FileRange | _Bytes") -> bool:
        """Send as much of a piece as the socket accepts now; return whether the piece is finished.

        If the connection fails, the piece waits for its end. Raises `OSError` if the file cannot be read.
        """
        try:
            self.taken += piece.send(self._sender)
        except BlockingIOError:
            return False
        except OSError as error:
            if piece.is_file_error(error, self._sender):
                raise
            self._transport.abortConnection()
            return False
        return piece.finished

    def _wait(self) -> None:
        """Have `resumeProducing` called when the socket is writable and the first piece is ready."""
        if not self._waiting:
            self._transport.registerProducer(self, False)
            self._waiting = True
        self._start_if_ready()

    def _start_if_ready(self) -> None:
        if self._waiting and self._queue and self._queue[0].ready:
            self._transport.startWriting()

    def _stop_waiting(self) -> None:
        self._waiting = False
        self._transport.unregisterProducer()


class _Bytes:
    """Queued bytes."""

    ready = True

    def __init__(self, data: bytes | memoryview, flags: int = 0) -> None:
        self._data = memoryview(data)
        self._flags = flags

    @property
    def finished(self) -> bool:
        return not self._data

    def end(self, error: OSError | None = None) -> None:
        """Do nothing: no caller waits for bytes."""

    def is_file_error(self, error: OSError, to: Sender) -> bool:
        """Return False: bytes in memory cannot fail."""
        return False

    def send(self, to: Sender) -> int:
        sent = to.send(self._data, self._flags)
        self._data = self._data[sent:]
        return sent


Output = SocketOutput | TransportOutput


class IOutputTransport(Interface):
    """A transport that has an output of its own."""

    def make_output(drained: Callable[[], None]) -> SocketOutput:  # noqa: N805  # zope.interface has no self
        """Return the output; it calls `drained` when its queue is empty."""


def make_output(transport: IStreamTransport, drained: Callable[[], None]) -> Output:
    """Return the transport's own output, else a `SocketOutput` of a plain socket or a `TransportOutput`."""
    if IOutputTransport.providedBy(transport):
        return transport.make_output(drained)
    handle = transport.getHandle() if ISystemHandle.providedBy(transport) else None
    if isinstance(handle, socket):
        return SocketOutput(cast("Connection", transport), handle, drained)
    return TransportOutput(transport, drained)
