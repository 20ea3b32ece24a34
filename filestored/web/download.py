"""A stored file on its way to a client.

In: an open `IBlob` and the request that asked for it. Out: a response with the whole file,
one range, several, or none of it (304), decided by `conditional` and `ranges`. When the blob
is a file and the request can send files, the bytes go from the kernel to the socket; else
the blob is a producer that the client's pace drives. The blob is closed in the end,
whatever happens.

An error that comes before the head is raised, and becomes an answer (`replies`). After the
head there is no way to say it in HTTP but to break the connection, so that is what happens:
half a file must not look like a whole one.

This is the hot path. No coroutine runs for a whole file or one range, and a field of the
request that is not there costs one look.
"""

from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.http.response import PreformattedHeaders, preformat
from filestored.interfaces import IBlob, ICacheable, IFileSender, IFileSource, IInMemory, IStreamedRequest
from filestored.web.errors import Field, HTTPError, precondition_failed
from filestored.web.headers.conditional import Precondition, entity_tag, evaluate_preconditions, range_applies
from filestored.web.headers.disposition import content_disposition
from filestored.web.headers.ranges import (
    MOST_OVERHEAD,
    ByteRanges,
    Span,
    content_range,
    parse_range,
    unsatisfied_range,
)
from filestored.web.headers.values import header_list

KIND = b"application/octet-stream"
"""The media type of every file: whatever it is, it is not for a browser to find out."""

_SELECTIVE = frozenset([b"if-match", b"if-none-match", b"range"])
"""Fields without which a request is for all of it; most have none."""

CACHE_CONTROL = b"public, max-age=31536000, immutable"
"""What a hash names never changes."""

_log = Logger()


@dataclass(frozen=True, slots=True)
class Representation:
    """How stored bytes are presented.

    `kind` is their media type, and `fields` go with it; `kept` are those that a 304 repeats.
    `ranged` says whether parts of them can be had. `tag_suffix` tells their entity tag from that of another
    form of the same. `disposition` is sent as it is; if None, the query may name the file.
    """

    kind: bytes
    fields: PreformattedHeaders
    kept: PreformattedHeaders
    ranged: bool = True
    tag_suffix: bytes = b""
    disposition: bytes | None = None


FILE = Representation(
    KIND,
    preformat(
        (b"Content-Type", KIND),
        (b"Accept-Ranges", b"bytes"),
        (b"Cache-Control", CACHE_CONTROL),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Content-Security-Policy", b"default-src 'none'; sandbox"),
    ),
    preformat((b"Cache-Control", CACHE_CONTROL)),
)
"""A file: public bytes without a type, for ever the same."""


def send(
    blob: IBlob,
    request: IStreamedRequest,
    dress: Representation = FILE,
    reopen: Callable[[], IBlob] | None = None,
) -> Deferred[None] | None:
    """Answer a GET or HEAD with what is in `blob`, and close it.

    `reopen` gives the same bytes once more, for those who ask the same later; None says that they
    may get others.

    Raises `HTTPError` (400, 412, 416) as long as nothing was sent; never fails later. None says
    that all is done already.
    """
    try:
        content = _begin(blob, request, dress, reopen)
    except BaseException:
        blob.close()
        raise
    if content is None:
        blob.close()
        request.finish()
        return None
    try:
        sending = _transfer(blob, request, content)
    except OSError:
        sending = fail()
    if sending is None:
        _conclude(None, blob, request)
        return None
    return sending.addBoth(_conclude, blob, request)


def _begin(
    blob: IBlob, request: IStreamedRequest, dress: Representation, reopen: Callable[[], IBlob] | None
) -> Span | ByteRanges | None:
    """Decide what to send, and set status and fields accordingly. None is a response without content."""
    tag, size = entity_tag(blob.digest, dress.tag_suffix), blob.size
    if _SELECTIVE.isdisjoint(request.getAllHeaders()):
        if reopen is not None and request.method == b"GET":
            _offer_again(blob, request, reopen)
        return _whole(request, tag, size, dress)
    if_match, if_none_match = header_list(request, b"if-match"), header_list(request, b"if-none-match")
    verdict = evaluate_preconditions(tag, if_match, if_none_match, reading=True)
    if verdict is Precondition.FAILED:
        raise precondition_failed()
    if verdict is Precondition.NOT_MODIFIED:
        request.set_headers(dress.kept)
        _announce(request, 304, size, (b"ETag", tag))
        return None
    content = _content(request, tag, size, dress)
    if content is None:
        return _whole(request, tag, size, dress)
    _set_fields(request, tag, dress)
    if isinstance(content, ByteRanges):
        _announce(request, 206, content.length, (b"Content-Type", content.kind))
    else:
        _announce(request, 206, content[1] - content[0], (b"Content-Range", content_range(content, size)))
    return content if request.method == b"GET" else None


def _offer_again(blob: IBlob, request: IStreamedRequest, reopen: Callable[[], IBlob]) -> None:
    """Let the same question be answered without us."""
    if ICacheable.providedBy(request) and (IInMemory.providedBy(blob) or IFileSource.providedBy(blob)):
        request.cache_with(reopen)


def _whole(request: IStreamedRequest, tag: bytes, size: int, dress: Representation) -> Span | None:
    _set_fields(request, tag, dress)
    _announce(request, 200, size)
    return (0, size) if size and request.method == b"GET" else None


def _content(
    request: IStreamedRequest, tag: bytes, size: int, dress: Representation
) -> Span | ByteRanges | None:
    """The range or ranges asked for, None being the whole file. Raises `HTTPError` 416."""
    wanted = header_list(request, b"range")
    if wanted is None or request.method != b"GET" or not dress.ranged:
        return None
    if not range_applies(tag, header_list(request, b"if-range")):
        return None
    spans = parse_range(wanted, size)
    if spans is None:
        return None
    if not spans:
        raise HTTPError(416, "The file has no such range.", (b"Content-Range", unsatisfied_range(size)))
    if len(spans) == 1:
        return spans[0]
    parts = ByteRanges.of(spans, size, dress.kind, token_hex(8).encode("ascii"))
    return parts if parts.length <= size + MOST_OVERHEAD else None


def _announce(request: IStreamedRequest, status: int, length: int, *fields: Field) -> None:
    """Set the status, the length that a GET answered 200 or 206 has (RFC 9110 section 8.6), and `fields`."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Length", b"%d" % length)
    for name, value in fields:
        request.setHeader(name, value)


def _set_fields(request: IStreamedRequest, tag: bytes, dress: Representation) -> None:
    if dress.disposition is not None:
        request.setHeader(b"Content-Disposition", dress.disposition)
    elif b"?" in request.uri:
        _set_disposition(request)
    request.setHeader(b"ETag", tag)
    request.set_headers(dress.fields)


def _set_disposition(request: IStreamedRequest) -> None:
    """Offer the file under the name of the query. Raises `HTTPError` when there are several."""
    names = request.args.get(b"name", ())
    if len(names) > 1:
        raise HTTPError(400, "The query has several names.")
    try:
        for name in names:
            request.setHeader(b"Content-Disposition", content_disposition(name))
    except UnicodeDecodeError:
        raise HTTPError(400, "The name is not UTF-8.") from None


def _transfer(blob: IBlob, request: IStreamedRequest, content: Span | ByteRanges) -> Deferred[None] | None:
    """Send what was asked for; None says that it has gone already. Raises `OSError`, or fails with it."""
    if isinstance(content, ByteRanges):
        return Deferred.fromCoroutine(_send_parts(blob, request, content))
    return _send_span(blob, request, content)


async def _send_parts(blob: IBlob, request: IStreamedRequest, parts: ByteRanges) -> None:
    for head, span in zip(parts.heads, parts.spans, strict=True):
        request.write(head)
        sending = _send_span(blob, request, span)
        if sending is not None:
            await sending
    request.write(parts.tail)


def _send_span(blob: IBlob, request: IStreamedRequest, span: Span) -> Deferred[None] | None:
    """Send bytes of the file, on the shortest way that both ends know."""
    if IInMemory.providedBy(blob):
        request.write(blob.data[span[0] : span[1]])
        return None
    if IFileSource.providedBy(blob) and IFileSender.providedBy(request):
        return request.write_file(blob, *span)
    return blob.produce(request, *span)


def _conclude(outcome: Failure | None, blob: IBlob, request: IStreamedRequest) -> None:
    """Everything was sent; or it can't be, then the connection is broken, unless the client did that."""
    blob.close()
    if outcome is None:
        request.finish()
    elif not outcome.check(CancelledError):
        _log.failure("{digest} could not be sent to its end", outcome, digest=blob.digest.hex)
        request.abort()
