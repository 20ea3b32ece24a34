"""Sending a range of a file with ``sendfile(2)``.

If the kernel does not support it for a file system, the bytes are read and written instead.

``sendfile`` waits for the disk, in the reactor's thread. So each call is measured, and while the disk is slow
the bytes are read in an I/O thread and written from memory, also in the middle of a range.
"""

import os
from collections.abc import Callable
from errno import EAGAIN, EINVAL, EIO, ENOSYS, EOPNOTSUPP
from time import monotonic
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from filestored.interfaces import IFileSource

MAX_SEND_BYTES = 512 * 1024
"""Bytes that one call sends of a long range; then other connections are served.

Measured with files of 64 MiB on 4 connections: 0.88 of nginx's CPU time per byte, 0.98 with 1 MiB.
"""

MAX_REST_BYTES = 1024 * 1024
"""Bytes that one call sends if they are all that is left: a socket often has room for a file of 1 MiB."""

INLINE_FILE_MAX_BYTES = 16 * 1024
"""File ranges up to this size are read and sent together with the head."""

FileEnded = Callable[[OSError | None], None]
"""Called when a descriptor is no longer needed, with an error if the file could not be read."""

_UNSUPPORTED = frozenset([EINVAL, ENOSYS, EOPNOTSUPP])


class Sender(Protocol):
    """A connected non-blocking socket, or a connection that sends as one; `send` raises `OSError`."""

    def send(self, data: bytes | memoryview, flags: int = 0, /) -> int:
        """See `socket.socket.send`."""

    def fileno(self) -> int:
        """See `socket.socket.fileno`."""

    def getpeername(self) -> Any:
        """See `socket.socket.getpeername`."""


def read_range(source: IFileSource, start: int, stop: int) -> bytes:
    """Return a small range of a file, read in the reactor's thread. Raises `OSError`."""
    began = monotonic()
    data = os.pread(source.fileno(), stop - start, start)
    source.record_latency(monotonic() - began)
    if len(data) < stop - start:
        raise OSError(EIO, "the file is shorter than it was")
    return data


class FileRange:
    """A half-open range of a file that is to be sent; `wake` is called when it is `ready` again."""

    ready = True
    """False while a thread reads the next bytes."""

    _error: OSError | None = None
    _read: memoryview | bytes = b""
    _done: Deferred[None] | None = None

    ended: FileEnded | None = None
    """Called in place of the Deferred of `wait`."""

    def __init__(self, source: IFileSource, start: int, stop: int, wake: Callable[[], None]) -> None:
        self._source = source
        self._position = start
        self._stop = stop
        self._wake = wake

    @property
    def finished(self) -> bool:
        """True when all of the range was sent."""
        return self._position >= self._stop

    def wait(self) -> Deferred[None]:
        """Fires when the descriptor is no longer needed; fails with `OSError` if the file cannot be read."""
        self._done = Deferred()
        return self._done

    def end(self, error: OSError | None = None) -> None:
        """Fire the Deferred of `wait`, or call `ended`; `error` is an error of the file."""
        ended, self.ended = self.ended, None
        if ended is not None:
            ended(error)
        done, self._done = self._done, None
        if done is not None:
            done.callback(None) if error is None else done.errback(error)

    def send(self, to: Sender) -> int:
        """Send a part of the range; return its size in bytes.

        Raises `BlockingIOError` if the socket is full or the range is not `ready`, `OSError` for other errors
        of socket and file; a file that ends before the range does is an ``EIO``.
        """
        source = self._source
        if self._read or source.slow:
            sent = self._send_from_memory(to)
        else:
            began = monotonic()
            try:
                sent = self._send_from_file(to, source.fileno())
            finally:
                source.record_latency(monotonic() - began)
        if sent == 0:
            raise OSError(EIO, "the file is shorter than it was")
        self._position += sent
        return sent

    def is_file_error(self, error: OSError, to: Sender) -> bool:
        """Return whether the file has failed, and not the socket: both raise the same errors.

        A file on a network can time out, too. But a socket that has failed has no peer.
        """
        return error is self._error or (not isinstance(error, ConnectionError) and _has_peer(to))

    def _send_from_file(self, to: Sender, descriptor: int) -> int:
        count = self._stop - self._position
        if count > MAX_REST_BYTES:
            count = MAX_SEND_BYTES
        try:
            return os.sendfile(to.fileno(), descriptor, self._position, count)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        data = os.pread(descriptor, min(count, MAX_SEND_BYTES // 4), self._position)
        return to.send(data) if data else 0

    def _send_from_memory(self, to: Sender) -> int:
        if self.ready and not self._read:
            self._start_reading()
        if self._error is not None:
            raise self._error
        if not self._read:
            raise BlockingIOError(EAGAIN, "a thread reads the file")
        sent = to.send(self._read)
        self._read = self._read[sent:]
        return sent

    def _start_reading(self) -> None:
        self.ready = False
        reading = Deferred.fromCoroutine(self._source.read(self._position, self._stop))
        reading.addCallbacks(self._read_done, self._read_failed).addCallback(lambda _: self._wake())

    def _read_done(self, data: bytes) -> None:
        self._read = memoryview(data)
        if not data:
            self._error = OSError(EIO, "the file is shorter than it was")
        self.ready = True

    def _read_failed(self, failure: Failure) -> None:
        error = failure.value
        self._error = error if isinstance(error, OSError) else OSError(EIO, str(error))
        self.ready = True


def _has_peer(connection: Sender) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True
