"""Input buffer of a connection: bytes that were received and not read yet, a bound on reads, and pausing.

Input that is not read yet waits in `data`, and the socket is paused meanwhile: back-pressure from the disk to
the client. One iteration of the reactor makes a bounded number of reads; further input waits for the next
iteration, behind the other connections.

A consumer that pauses does not pause the socket: one more piece, of at most `receive_size.MAX_READ_BYTES`, is
received first. So the next bytes of an upload are in memory as soon as the disk is ready for them.

Rejected: pausing the socket together with the consumer. An upload of 8 MiB pauses it 14 times instead of 12,
and the disk waits for the socket after each pause.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer

MAX_READS = 16
"""Reads in one iteration of the reactor; a pipelined request takes one, or two with a body."""


class InputBuffer:
    """The input of one connection.

    `read` takes bytes from `data` and returns whether it can read more; `on_end` is called at the end of the
    input; `call_soon` calls a function in the next iteration of the reactor.
    """

    __slots__ = (
        "_call_soon",
        "_deferred",
        "_on_end",
        "_paused",
        "_processing",
        "_read",
        "_transport",
        "closed",
        "data",
        "discarded",
        "ended",
    )

    def __init__(
        self,
        transport: IPushProducer,
        read: Callable[[], bool],
        on_end: Callable[[], None],
        call_soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self._transport = transport
        self._read = read
        self._on_end = on_end
        self._call_soon = call_soon
        self._processing = self._deferred = self._paused = False
        self.discarded = 0
        self.data = b""
        self.ended = self.closed = False

    def process(self) -> None:
        """Call `read` until it returns False, `data` is empty, or `MAX_READS` is reached."""
        if self._processing or self._deferred:
            return  # a response has ended during a read: the loop below continues
        self._processing = True
        try:
            reads = 1
            while self.data and self._read():
                reads += 1
                if reads > MAX_READS and self.data:
                    self.defer()
                    break
        finally:
            self._processing = False
        if self.data:
            self._pause()
        elif self._paused:
            self._resume()

    def defer(self) -> None:
        """Process the rest of the input in the next iteration of the reactor."""
        if not self._deferred:
            self._deferred = True
            self._call_soon(self._process_deferred)

    def end(self) -> None:
        """Note that the client sends no more. `on_end` is called once no input is deferred."""
        self.ended = True
        if not self._deferred:
            self._on_end()

    def discard(self) -> None:
        """Discard the input; `discarded` counts its bytes."""
        self.discarded += len(self.data)
        self.data = b""

    def close(self) -> None:
        """Drop the input of a connection that is closed."""
        self.closed = True
        self.data = b""

    def _process_deferred(self) -> None:
        self._deferred = False
        self.process()
        if self.ended and not self._deferred:
            self._on_end()

    def _pause(self) -> None:
        if not self._paused and not self.closed:
            self._paused = True
            self._transport.pauseProducing()

    def _resume(self) -> None:
        if not self.closed:
            self._paused = False
            self._transport.resumeProducing()
