"""Response cache, keyed by the request head without the header lines that cannot change the response.

A resource declares that a response may be cached (`ICacheable.cache_with`). A hit skips parsing, routing and
rendering: the stored head is sent with the current date and the id of the request. The body is reopened or
validated each time, so a deleted file is never served. A single byte range of a cached response is a hit,
too. A head that arrives in pieces, or with the next request behind it, is no hit.

`parser.cache_key` makes the keys. Each connection has a `CacheLookup`, which keeps the key of its last header
block: most clients repeat theirs.

A hit takes a fifth of the time of a miss (docs/benchmarks.md).

Rejected: storing whole responses with their bodies, which would outlive their files. The raw head as the key:
a proxy adds to each request what no other request has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.bounded_cache import BoundedCache
from filestored.errors import FilestoredError
from filestored.http.limits import Limits
from filestored.http.open_files import OpenFile, OpenFiles
from filestored.http.parser.cache_key import header_key
from filestored.http.parser.request_head import RequestHead
from filestored.http.parser.request_id import find_request_id
from filestored.http.response import END_OF_HEAD, CachedHead, PreformattedHeaders
from filestored.http.transport.output import SocketOutput
from filestored.http.transport.sendfile import INLINE_FILE_MAX_BYTES, FileEnded, read_range
from filestored.interfaces import AccessEntry, IAccessLog, IBlob, IFileSource, IInMemory
from filestored.metrics.refusals import Refusal

MAX_ENTRIES = 4096
"""Entries of a cache; the oldest are evicted."""

MAX_HEAD_BYTES = 4096
"""Length of the longest request head that is looked up."""

MAX_KEY_BYTES = 1024
"""Length of the longest key."""

Span = tuple[int, int]
"""A half-open range of bytes: the first, and the one after the last."""

_log = Logger()


@dataclass(slots=True)
class CachedResponse:
    """A response 200: its head, and a body of `size` bytes from `reopen`; also its single ranges (206).

    `entry` is that of the access log.
    """

    head: CachedHead
    size: int
    reopen: Callable[[], IBlob]
    files: OpenFiles
    entry: AccessEntry
    _file: OpenFile | None = None
    _description: str | None = None

    def send(
        self, output: SocketOutput, span: Span | None, request_id: bytes, abort: Callable[[], None]
    ) -> bool:
        """Send the response, or the range `span` of it, to the request of that id.

        Returns False, without sending, if the body cannot be had as before, or the range is not within it.
        `abort` is called when the body cannot be read to its end.
        """
        if span is None:
            head, start, stop = self.head.now(), 0, self.size
        elif span[0] < min(span[1], self.size) and self.head.has_ranges:
            start, stop = span[0], min(span[1], self.size)
            head = self.head.partial(start, stop, self.size)
        else:
            return False
        file = self._file
        if file is None or not file.acquire():
            try:
                blob = self.reopen()
            except (FilestoredError, OSError):
                return False
            if blob.size != self.size:
                blob.close()
                return False
            if IInMemory.providedBy(blob):
                data = blob.data if span is None else blob.data[start:stop]
                output.write_batched(b"".join((head, request_id, END_OF_HEAD, data)))
                blob.close()
                return True
            file = self._file = self.files.add(blob)
        head += request_id + END_OF_HEAD
        return _send_file(output, head, file, start, stop, partial(_file_sent, file, request_id, abort))

    def describe(self, log: IAccessLog, span: Span | None) -> str:
        """Return the entry of the access log."""
        if span is not None:
            sent = min(span[1], self.size) - span[0]
            return log.format_entry(self.entry._replace(status=206, sent=sent))
        if self._description is None:
            self._description = log.format_entry(self.entry)
        return self._description


class SentFromCache:
    """The cached response that a connection sends: an `ActiveResponse` without a resource.

    `sent_length` is that of a large response that the metrics have not counted yet, else 0.
    """

    __slots__ = ("code", "description", "request_id", "sent_length")

    startedWriting = True
    refusal: Refusal | None = None

    def __init__(self) -> None:
        self.code = 200
        self.description: str | None = None
        self.sent_length = 0
        self.request_id = b""

    def resume(self) -> None:
        """Do nothing: no producer waits."""

    def sent(self) -> None:
        """Do nothing: no resource waits."""

    def sender_closed(self) -> None:
        """Do nothing: no resource waits."""

    def connection_lost(self, reason: Failure) -> None:
        """Do nothing: no resource waits."""


def _send_file(
    output: SocketOutput, head: bytes, file: OpenFile, start: int, stop: int, ended: FileEnded
) -> bool:
    """Send a head and a range of a file, and release it; return False if it cannot be read."""
    source = IFileSource(file.blob)
    if stop - start <= INLINE_FILE_MAX_BYTES and not source.slow:
        try:
            output.write_batched(head + read_range(source, start, stop))
        except OSError:
            return False
        finally:
            file.release()
        return True
    output.write_head_and_file(head, source, start, stop, ended)
    return True


def _file_sent(file: OpenFile, request_id: bytes, abort: Callable[[], None], error: OSError | None) -> None:
    file.release()
    if error is not None:
        _log.failure("a file could not be sent to its end", Failure(error), request_id=request_id)
        abort()


class ResponseCache(BoundedCache[bytes, CachedResponse]):
    """The cached responses of one server, by key."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        super().__init__(max_entries)
        self.files = OpenFiles()

    def clear(self) -> None:
        """Remove all responses."""
        super().clear()
        self.files.drop_all()


class CacheLookup:
    """The lookups of one connection.

    `block` are the header lines that were looked up last, `span` is the range in them, and `request_id` the
    id.
    """

    __slots__ = ("_cache", "_lines", "_max_bytes", "_max_fields", "block", "request_id", "span")

    def __init__(self, cache: ResponseCache, limits: Limits) -> None:
        self._cache = cache
        self._max_bytes = min(MAX_HEAD_BYTES, limits.request_line, limits.field_line, limits.head)
        self._max_fields = limits.fields
        self.block = self._lines = b""
        self.span: Span | None = None
        self.request_id: bytes | None = None

    def find(self, data: bytes) -> CachedResponse | None:
        """Return the cached response to `data`, if that is exactly one request head."""
        if len(data) > self._max_bytes:
            return None
        end = data.find(b"\r\n")
        block = data[end:]
        if block != self.block:
            self._use(block)
        return self._cache.get(data[:end] + self._lines)

    def add(
        self, head: RequestHead, headers: PreformattedHeaders, reopen: Callable[[], IBlob], size: int
    ) -> None:
        """Store the response to a request, a 200 or a single range of it; see `ICacheable.cache_with`.

        Not stored are responses to requests with a body or a long head.
        """
        if head.fields.has_body or len(head.raw) > self._max_bytes:
            return
        end = head.raw.index(b"\r\n")
        self._use(head.raw[end:])
        key = head.raw[:end] + self._lines
        if not self._lines or len(key) > MAX_KEY_BYTES:
            return
        headers = headers | {b"content-length": b"Content-Length: %d" % size}
        if headers.pop(b"content-range", None) is not None and self.span is None:
            return  # the key has a range of another form
        fields = head.fields.last
        entry = AccessEntry(
            head.method,
            head.target,
            head.version,
            200,
            size,
            fields.get(b"referer"),
            fields.get(b"user-agent"),
        )
        self._cache.add(key, CachedResponse(CachedHead(headers), size, reopen, self._cache.files, entry))

    def _use(self, block: bytes) -> None:
        """Use the key of a header block; one that no response has if it has none."""
        found = header_key(block, self._max_fields)
        self._lines, self.span = (b"", None) if found is None else found
        self.request_id = find_request_id(block)
        self.block = block
