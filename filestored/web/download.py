"""Downloads: responses with a stored blob, complete (200), in ranges (206), or not modified (304).

In: an open `IBlob` and a request. Out: a response; the blob is closed in every case. The kernel sends a blob
that is a file, if the request can send files. Any other blob is a push producer.

Errors before the response head are raised and become error responses. After the head the connection is
aborted, so that a truncated file is recognisable.

This is the hot path: no coroutine runs for a complete file or a single range.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.errors import EngineError
from filestored.http.response import PreformattedHeaders, preformat
from filestored.interfaces import (
    ALL_BYTES,
    CacheScope,
    IBlob,
    ICacheable,
    IFileSender,
    IFileSource,
    IInMemory,
    IStreamedRequest,
    WantedRange,
)
from filestored.web.errors import Field, HTTPError
from filestored.web.headers.conditional import range_applies
from filestored.web.headers.digests import entity_tag
from filestored.web.headers.disposition import content_disposition
from filestored.web.headers.ranges import (
    MAX_MULTIPART_OVERHEAD_BYTES,
    ByteRanges,
    Span,
    content_range,
    parse_range,
    unsatisfied_range,
)
from filestored.web.resource import NO_SNIFF, start_not_modified

CONTENT_TYPE = b"application/octet-stream"
"""The media type of every stored file, which no browser renders."""

CACHE_CONTROL = {
    CacheScope.PUBLIC: b"public, max-age=31536000, immutable",
    CacheScope.PRIVATE: b"private, max-age=31536000, immutable",
    CacheScope.LINK: b"private, no-cache",
}
"""`Cache-Control` of files: the content under a hash never changes, but a link ends."""

SANDBOX: tuple[Field, ...] = (NO_SNIFF, (b"Content-Security-Policy", b"default-src 'none'; sandbox"))
"""Headers of all stored content: a browser neither guesses its type nor runs scripts in it."""

_SELECTING_HEADERS = frozenset([b"if-match", b"if-none-match", b"range"])
"""Request headers that select less than the complete file; most requests have none."""

_CONDITIONS = frozenset([b"if-match", b"if-none-match", b"if-range"])
_SIMPLE_RANGE = re.compile(rb"bytes=([0-9]{1,15})-([0-9]{0,15})")

_log = Logger()


@dataclass(frozen=True, slots=True)
class Representation:
    """Headers of stored bytes: `content_type`, and further `headers`, of which a 304 has `not_modified`.

    `has_ranges` is False for content without ranges. `tag_suffix` makes the entity tag differ from that of
    another representation of the same bytes. `disposition` is `Content-Disposition`; if it is None, the query
    may name the file.
    """

    content_type: bytes
    headers: PreformattedHeaders
    not_modified: PreformattedHeaders
    has_ranges: bool = True
    tag_suffix: bytes = b""
    disposition: bytes | None = None


FILES = {
    scope: Representation(
        CONTENT_TYPE,
        preformat(
            (b"Content-Type", CONTENT_TYPE),
            (b"Accept-Ranges", b"bytes"),
            (b"Cache-Control", value),
            *SANDBOX,
        ),
        preformat((b"Cache-Control", value)),
    )
    for scope, value in CACHE_CONTROL.items()
}
"""Stored files: immutable bytes of unknown type."""


def wanted_range(request: IStreamedRequest) -> WantedRange | None:
    """Return the range that the response will probably have, as far as the request tells; None for none."""
    if request.method != b"GET":
        return None
    if _SELECTING_HEADERS.isdisjoint(request.received):
        return ALL_BYTES
    if not _CONDITIONS.isdisjoint(request.received):
        return None
    simple = _SIMPLE_RANGE.fullmatch(request.received[b"range"])
    if simple is None:
        return None
    start, stop = int(simple[1]), int(simple[2]) + 1 if simple[2] else None
    return (start, stop) if stop is None or start < stop else None


def send(
    blob: IBlob,
    request: IStreamedRequest,
    representation: Representation,
    reopen: Callable[[], IBlob] | None = None,
) -> Deferred[None] | None:
    """Respond to a GET or HEAD with `blob`, and close it. Returns None when the response is finished.

    `reopen` lets the request cache the response (`ICacheable`). Raises `HTTPError` (400, 412, 416) before
    the response starts; the Deferred never fails.
    """
    try:
        content = _start_response(blob, request, representation, reopen)
    except BaseException:
        blob.close()
        raise
    if content is None:
        _finish(None, blob, request)
        return None
    try:
        sending = _send_content(blob, request, content)
    except OSError:
        sending = fail()
    if sending is None:
        _finish(None, blob, request)
        return None
    return sending.addBoth(_finish, blob, request)


def _start_response(
    blob: IBlob,
    request: IStreamedRequest,
    representation: Representation,
    reopen: Callable[[], IBlob] | None,
) -> Span | ByteRanges | None:
    """Set status and headers; return the content to send, or None for a response without content."""
    tag, size = entity_tag(blob.digest, representation.tag_suffix), blob.size
    content: Span | ByteRanges | None = None
    if not _SELECTING_HEADERS.isdisjoint(request.received):
        if start_not_modified(request, tag, representation.not_modified):
            _set_status(request, 304, size, (b"ETag", tag))
            return None
        content = _selected_ranges(request, tag, size, representation)
    if reopen is not None and request.method == b"GET":
        _allow_caching(blob, request, reopen)
    _set_headers(request, tag, representation)
    if content is None:
        _set_status(request, 200, size)
        content = (0, size)
    elif isinstance(content, ByteRanges):
        _set_status(request, 206, content.length, (b"Content-Type", content.content_type))
    else:
        _set_status(request, 206, content[1] - content[0], (b"Content-Range", content_range(content, size)))
    return content if size and request.method == b"GET" else None


def _allow_caching(blob: IBlob, request: IStreamedRequest, reopen: Callable[[], IBlob]) -> None:
    if request.cache_scope is CacheScope.LINK:
        return  # it ends by itself
    if ICacheable.providedBy(request) and (IInMemory.providedBy(blob) or IFileSource.providedBy(blob)):
        request.cache_with(reopen, blob.size)


def _selected_ranges(
    request: IStreamedRequest, tag: bytes, size: int, representation: Representation
) -> Span | ByteRanges | None:
    """Return the requested range or ranges; None is the complete file. Raises `HTTPError` (416)."""
    value = request.header(b"range")
    if value is None or request.method != b"GET" or not representation.has_ranges:
        return None
    if not range_applies(tag, request.header(b"if-range")):
        return None
    spans = parse_range(value, size)
    if spans is None:
        return None
    if not spans:
        raise HTTPError(416, "The file has no such range.", (b"Content-Range", unsatisfied_range(size)))
    if len(spans) == 1:
        return spans[0]
    parts = ByteRanges.of(spans, size, representation.content_type, token_hex(8).encode("ascii"))
    return parts if parts.length <= size + MAX_MULTIPART_OVERHEAD_BYTES else None


def _set_status(request: IStreamedRequest, status: int, length: int, *headers: Field) -> None:
    """Set the status, the length of a GET answered with 200 or 206 (RFC 9110 section 8.6), and `headers`."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Length", b"%d" % length)
    for name, value in headers:
        request.setHeader(name, value)


def _set_headers(request: IStreamedRequest, tag: bytes, representation: Representation) -> None:
    if representation.disposition is not None:
        request.setHeader(b"Content-Disposition", representation.disposition)
    elif b"?" in request.uri:
        _set_disposition(request)
    request.setHeader(b"ETag", tag)
    request.set_headers(representation.headers)


def _set_disposition(request: IStreamedRequest) -> None:
    """Name the file as the query does. Raises `HTTPError` (400) for several names."""
    names = request.args.get(b"name", ())
    if len(names) > 1:
        raise HTTPError(400, "The query has several names.")
    try:
        for name in names:
            request.setHeader(b"Content-Disposition", content_disposition(name))
    except UnicodeDecodeError:
        raise HTTPError(400, "The name is not UTF-8.") from None


def _send_content(
    blob: IBlob, request: IStreamedRequest, content: Span | ByteRanges
) -> Deferred[None] | None:
    """Send the content; return None if that is done. Raises `OSError`, or fails with it."""
    if isinstance(content, ByteRanges):
        return Deferred.fromCoroutine(_send_ranges(blob, request, content))
    return _send_span(blob, request, content)


async def _send_ranges(blob: IBlob, request: IStreamedRequest, ranges: ByteRanges) -> None:
    for head, span in zip(ranges.heads, ranges.spans, strict=True):
        request.write(head)
        sending = _send_span(blob, request, span)
        if sending is not None:
            await sending
    request.write(ranges.tail)


def _send_span(blob: IBlob, request: IStreamedRequest, span: Span) -> Deferred[None] | None:
    """Send bytes of the blob: from memory, with sendfile, or through its producer."""
    if IInMemory.providedBy(blob):
        request.write(blob.data[span[0] : span[1]])
        return None
    if IFileSource.providedBy(blob) and IFileSender.providedBy(request):
        return request.write_file(blob, *span)
    return blob.produce(request, *span)


def _finish(result: Failure | None, blob: IBlob, request: IStreamedRequest) -> None:
    """Close the blob; finish the response, or abort it after a read error."""
    blob.close()
    if result is None:
        request.finish()
    elif isinstance(result.value, EngineError):
        _log.error(
            "{digest} was not sent to its end: {why}",
            digest=blob.digest.hex,
            why=result.value.reason,
            request_id=request.request_id,
        )
        request.abort()
    elif not result.check(CancelledError):
        _log.failure(
            "{digest} could not be sent to its end",
            result,
            digest=blob.digest.hex,
            request_id=request.request_id,
        )
        request.abort()
