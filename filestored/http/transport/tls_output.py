"""Output of a TLS connection: records of bytes and file ranges, in order.

A file is read in pieces of `READ_BYTES` into one buffer of the process, encrypted and sent. When the socket
is full, the connection keeps the one record that OpenSSL has to send next; the rest is read again later.
While the disk is slow, I/O threads read, as for `filestored.http.transport.sendfile`.

The head of a response and the begin of its file are one record.
"""

import os

from twisted.internet.defer import Deferred

from filestored.http.transport.output import SocketOutput
from filestored.http.transport.sendfile import FileEnded, FileRange, Sender, read_range
from filestored.interfaces import IFileSource

MAX_RECORD_BYTES = 16 * 1024
"""Maximum bytes in one TLS record (RFC 8446 section 5.1)."""

MAX_SEND_BYTES = 256 * 1024
"""Bytes of a file that are sent at once; then other connections are served."""

READ_BYTES = 64 * 1024
"""Bytes of a file that are read at once: few calls, and they stay in the processor's cache."""

_buffer = memoryview(bytearray(READ_BYTES))
"""Bytes of the file that is being sent; only the reactor's thread uses it, and no call leaves bytes in it."""


class TLSOutput(SocketOutput):
    """Output to a `TLSConnection`, which sends as a socket does."""

    _head = b""

    def write(self, data: bytes, more: bool = False) -> None:
        """Send bytes after all earlier output; `more` announces a file range, which has to follow."""
        if self._head:
            data = self._take_head() + data
        if more and len(data) < MAX_RECORD_BYTES:
            self._head = data
        else:
            super().write(data)

    def write_head_and_file(
        self, head: bytes, source: IFileSource, start: int, stop: int, ended: FileEnded
    ) -> None:
        """Send bytes and a range of a file after all earlier output, in common records."""
        try:
            self.write(head, more=True)
            sending = self.write_file(source, start, stop)
        except OSError as error:
            ended(error)
            return
        if sending is None:
            ended(None)
        else:
            sending.addCallbacks(ended, lambda failure: ended(failure.value))

    def write_file(self, source: IFileSource, start: int, stop: int) -> Deferred[None] | None:
        """Send a range of a file; see `filestored.interfaces.IFileSender`."""
        head = self._take_head()
        if head and not source.slow:
            begin = min(stop, start + MAX_RECORD_BYTES - len(head))
            head += read_range(source, start, begin)
            start = begin
        if head:
            super().write(head)
        return super().write_file(source, start, stop) if start < stop else None

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head

    def _make_range(self, source: IFileSource, start: int, stop: int) -> FileRange:
        return EncryptedRange(source, start, stop, self._start_if_ready)


class EncryptedRange(FileRange):
    """A half-open range of a file that is to be encrypted and sent."""

    def _send_from_file(self, to: Sender, descriptor: int) -> int:
        """Send up to `MAX_SEND_BYTES`; if the socket is full, keep the next record in `_read`."""
        sent, count = 0, min(self._stop - self._position, MAX_SEND_BYTES)
        while sent < count and not self._read:
            room = _buffer[: count - sent]
            piece = room[: os.preadv(descriptor, [room], self._position + sent)]
            if not piece:
                break
            accepted = _send(piece, to)
            self._read = bytes(piece[accepted : accepted + MAX_RECORD_BYTES])
            sent += accepted
        if self._read and not sent:
            raise BlockingIOError
        return sent


def _send(data: memoryview, to: Sender) -> int:
    """Return how many bytes the socket accepted, which may be none."""
    try:
        return to.send(data)
    except BlockingIOError:
        return 0
