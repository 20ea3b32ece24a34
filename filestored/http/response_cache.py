"""Response cache, keyed by the raw bytes of the request head.

A resource declares that a response may be cached (`ICacheable.cache_with`). A hit skips parsing, routing and
rendering: the stored head is sent with the current date. The body is reopened each time, so a deleted file is
never served. A head that arrives in pieces, or with the next request behind it, is no hit.

A hit takes a quarter to a third of the time of a miss (docs/benchmarks.md).

Rejected: storing whole responses with their bodies, which would outlive their files.
"""

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.bounded_cache import BoundedCache
from filestored.errors import FilestoredError
from filestored.http.parser.request_head import RequestHead
from filestored.http.response import CachedHead
from filestored.http.transport.output import Output, SocketOutput
from filestored.interfaces import IBlob, IFileSource, IInMemory

MAX_ENTRIES = 2048
"""Entries of a cache; the oldest is evicted."""

MAX_HEAD_BYTES = 1024
"""Length of the longest request head that is a key."""

MAX_HEADERS = 24
"""Headers of a request whose response is cached: parsed, they take ten times the bytes. Browsers send 18."""

_log = Logger()


@dataclass(slots=True)
class CachedResponse:
    """A response 200 to the request `head`: its own head, and a body of `size` bytes from `reopen`.

    `description` is its entry in the access log, which is the same each time; None before the first.
    """

    head: RequestHead
    response: CachedHead
    size: int
    reopen: Callable[[], IBlob]
    description: str | None = None

    code = 200
    startedWriting = True

    @property
    def sent_length(self) -> int:
        """Return the bytes of the body, for the access log."""
        return self.size

    def send(self, output: Output, abort: Callable[[], None]) -> bool:
        """Send the response; return False, without sending, if the body cannot be had as before.

        `abort` is called when the body cannot be read to its end.
        """
        blob = self.open()
        if blob is None:
            return False
        if IInMemory.providedBy(blob):
            output.write(self.response.now() + blob.data)
            blob.close()
        else:
            output.write(self.response.now(), more=blob.size > 0)
            self._send_file(output, blob, abort)
        return True

    def open(self) -> IBlob | None:
        """Return the body, to be closed by the caller; None if it cannot be had as before."""
        try:
            blob = self.reopen()
        except (FilestoredError, OSError):
            return None
        if blob.size == self.size:
            return blob
        blob.close()
        return None

    def _send_file(self, output: Output, blob: IBlob, abort: Callable[[], None]) -> None:
        assert isinstance(output, SocketOutput)
        try:
            sending = output.write_file(IFileSource(blob), 0, blob.size) if blob.size else None
        except OSError:
            sending = fail()
        if sending is None:
            blob.close()
        else:
            sending.addBoth(_file_sent, blob, abort)

    def resume(self) -> None:
        """Do nothing: no producer waits."""

    def sent(self) -> None:
        """Do nothing: no resource waits."""

    def sender_closed(self) -> None:
        """Do nothing: no resource waits."""

    def connection_lost(self, reason: Failure) -> None:
        """Do nothing: no resource waits."""


def _file_sent(outcome: Failure | None, blob: IBlob, abort: Callable[[], None]) -> None:
    blob.close()
    if outcome is not None:
        _log.failure("a file could not be sent to its end", outcome)
        abort()


class ResponseCache(BoundedCache[bytes, CachedResponse]):
    """The cached responses of one server, by the bytes of the request head."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        super().__init__(max_entries)

    def add_response(self, response: CachedResponse) -> None:
        """Store a response, unless its request head is too large."""
        head = response.head
        if len(head.raw) <= MAX_HEAD_BYTES and len(head.fields.lines) <= MAX_HEADERS:
            self.add(head.raw, response)

    def remove(self, response: CachedResponse) -> None:
        """Remove a stale response."""
        self.pop(response.head.raw, None)
