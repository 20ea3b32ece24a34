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

from secrets import token_hex

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from filestored.interfaces import IBlob, IFileBacked, IStreamedRequest, ITakesFiles
from filestored.web.conditional import Verdict, entity_tag, judge, range_applies
from filestored.web.disposition import content_disposition
from filestored.web.fields import combined
from filestored.web.ranges import (
    MOST_OVERHEAD,
    Parts,
    Span,
    content_range,
    select,
    unsatisfied,
)
from filestored.web.refusal import Refusal, precondition_failed

KIND = b"application/octet-stream"
"""The media type of every file: whatever it is, it is not for a browser to find out."""

CACHE_CONTROL = b"public, max-age=31536000, immutable"
"""What a hash names never changes."""

_FIXED = (
    (b"Content-Type", KIND),
    (b"Accept-Ranges", b"bytes"),
    (b"Cache-Control", CACHE_CONTROL),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"default-src 'none'; sandbox"),
)
_log = Logger()


def send(blob: IBlob, request: IStreamedRequest) -> Deferred[None]:
    """Answer a GET or HEAD with what is in `blob`, and close it.

    Fails with `Refusal` (400, 412, 416) as long as nothing was sent.
    """
    return maybeDeferred(_answer, blob, request).addBoth(_close, blob)


def _close(outcome: Failure | None, blob: IBlob) -> Failure | None:
    blob.close()
    return outcome


def _answer(blob: IBlob, request: IStreamedRequest) -> Deferred[None]:
    tag = entity_tag(blob.digest)
    if_match, if_none_match = combined(request, b"if-match"), combined(request, b"if-none-match")
    verdict = judge(tag, if_match, if_none_match, reading=True)
    if verdict is Verdict.FAILED:
        raise precondition_failed()
    if verdict is Verdict.NOT_MODIFIED:
        return _send_not_modified(request, tag, blob.size)
    spans = _spans(request, tag, blob.size)
    _set_fields(request, tag)
    if len(spans) > 1:
        parts = Parts.of(spans, blob.size, KIND, token_hex(8).encode("ascii"))
        if parts.length <= blob.size + MOST_OVERHEAD:
            return Deferred.fromCoroutine(_send_parts(blob, request, parts))
    if len(spans) == 1:
        return _send_range(blob, request, spans[0])
    return _send_span(blob, request, (0, blob.size))


def _spans(request: IRequest, tag: bytes, size: int) -> list[Span]:
    """The ranges asked for, none being the whole file. Raises `Refusal` 416."""
    wanted = combined(request, b"range")
    if wanted is None or request.method != b"GET" or not range_applies(tag, combined(request, b"if-range")):
        return []
    spans = select(wanted, size)
    if spans == []:
        raise Refusal(416, "The file has no such range.", (b"Content-Range", unsatisfied(size)))
    return spans or []


def _set_fields(request: IRequest, tag: bytes) -> None:
    if b"?" in request.uri:
        _set_disposition(request)
    request.setHeader(b"ETag", tag)
    for name, value in _FIXED:
        request.setHeader(name, value)


def _set_disposition(request: IRequest) -> None:
    """Offer the file under the name of the query. Raises `Refusal` when there are several."""
    names = request.args.get(b"name", ())
    if len(names) > 1:
        raise Refusal(400, "The query has several names.")
    try:
        for name in names:
            request.setHeader(b"Content-Disposition", content_disposition(name))
    except UnicodeDecodeError:
        raise Refusal(400, "The name is not UTF-8.") from None


def _send_not_modified(request: IRequest, tag: bytes, size: int) -> Deferred[None]:
    request.setResponseCode(304)
    request.setHeader(b"ETag", tag)
    request.setHeader(b"Cache-Control", CACHE_CONTROL)
    request.setHeader(b"Content-Length", b"%d" % size)  # that of a 200 (RFC 9110 section 8.6)
    request.finish()
    return succeed(None)


def _send_range(blob: IBlob, request: IStreamedRequest, span: Span) -> Deferred[None]:
    request.setResponseCode(206)
    request.setHeader(b"Content-Range", content_range(span, blob.size))
    return _send_span(blob, request, span)


def _send_span(blob: IBlob, request: IStreamedRequest, span: Span) -> Deferred[None]:
    """Send the rest of the head, and the span as the only content."""
    request.setHeader(b"Content-Length", b"%d" % (span[1] - span[0]))
    if request.method == b"HEAD" or span[0] == span[1]:
        request.finish()
        return succeed(None)
    return _transfer(blob, request, span).addCallbacks(
        _finish, _break_off, (request,), errbackArgs=(request,)
    )


async def _send_parts(blob: IBlob, request: IStreamedRequest, parts: Parts) -> None:
    kind = b"multipart/byteranges; boundary=" + parts.boundary
    request.setResponseCode(206)
    request.setHeader(b"Content-Type", kind)
    request.setHeader(b"Content-Length", b"%d" % parts.length)
    try:
        for head, span in zip(parts.heads, parts.spans, strict=True):
            request.write(head)
            await _transfer(blob, request, span)
    except Exception:
        _break_off(Failure(), request)
    else:
        request.write(parts.tail)
        request.finish()


def _transfer(blob: IBlob, request: IStreamedRequest, span: Span) -> Deferred[None]:
    """Send bytes of the file, on the shortest way that both ends know."""
    if IFileBacked.providedBy(blob) and ITakesFiles.providedBy(request):
        return request.write_file(blob.fileno(), *span)
    return blob.produce(request, *span)


def _finish(_: None, request: IRequest) -> None:
    request.finish()


def _break_off(failure: Failure, request: IStreamedRequest) -> None:
    """The response can't be completed: break the connection, unless the client has."""
    if not failure.check(CancelledError):
        _log.failure("a file could not be sent to its end", failure)
        request.abort()
