"""An upload: from the body of a request into the store.

In: a request of which only the head has arrived. First everything is asked that the head can
answer (`UploadHeaders.of`), and refused before the client sends a byte more. Then `receive`
makes an upload of the store the consumer of the body; the store's disk and the client's
socket pause each other through it, and nothing is kept here. Out: what was `UploadResult`, or an
error, and then nothing of it remains.

A form is unpacked (`form`). Every other type of content is the file itself, also
``application/x-www-form-urlencoded``, which is what ``curl --data-binary`` says of any bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from multipart import parse_options_header
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure

from filestored.digest import Digest
from filestored.errors import TooLarge
from filestored.interfaces import IBody, IStore, IStreamedRequest, IUpload, UploadResult
from filestored.web.digest_check import DigestCheck
from filestored.web.errors import HTTPError
from filestored.web.headers.digests import parse_digests
from filestored.web.headers.values import header_list, single_header
from filestored.web.multipart_form import BOUNDARY, MOST_AROUND, Begin, MultipartUpload


@dataclass(frozen=True, slots=True)
class UploadHeaders:
    """What the head of a request says of its body.

    `boundary` is that of a form, None for plain content; `digests` are those of the content.
    """

    boundary: str | None
    digests: tuple[Digest, ...]

    @classmethod
    def of(cls, request: IStreamedRequest) -> "UploadHeaders":
        """Read it. Raises `HTTPError` or `MalformedDigest` for a body that is not taken."""
        if request.body.present and _TELLING.isdisjoint(request.getAllHeaders()):
            return _PLAIN
        coding = header_list(request, b"content-encoding") or b"identity"
        if coding.strip().lower() != b"identity":
            raise HTTPError(
                415, "Send the file without a Content-Encoding.", (b"Accept-Encoding", b"identity")
            )
        if header_list(request, b"content-range") is not None:
            raise HTTPError(
                400, "A file is uploaded whole; Content-Range is not understood (RFC 9110, 14.5)."
            )
        if not request.body.present:
            raise HTTPError(400, "The request has no body. An empty file has a Content-Length of 0.")
        return cls(_boundary(request), tuple(_digests(request)))


def receive(
    body: IBody, announcement: UploadHeaders, store: IStore, expected: Iterable[Digest] = ()
) -> Deferred[UploadResult]:
    """Store the body, or the first file of the form that it is; it must have the `expected` digests.

    Fails with `UploadRefused`, `BodyError` or `HTTPError`; nothing is stored then. Raises the same for what
    is clear beforehand.
    """
    if announcement.boundary is None:
        upload = store.upload((*expected, *announcement.digests), body.length)
        delivered = maybeDeferred(body.deliver, upload)
    else:
        refuse_too_large(body, store.max_size)
        upload = store.upload(expected)
        delivered = Deferred.fromCoroutine(extract_file(body, announcement, upload, store.max_size))
    return delivered.addCallback(lambda _: upload.commit()).addErrback(_abandoned, upload)


def _abandoned(failure: Failure, upload: IUpload) -> Failure:
    upload.abort()
    return failure


def refuse_too_large(body: IBody, max_size: int) -> None:
    """Raise `TooLarge` for a form that cannot but hold a file, or other parts, beyond what is taken."""
    if body.length is not None and body.length > max_size + MOST_AROUND:
        raise TooLarge


async def extract_file(
    body: IBody, announcement: UploadHeaders, upload: IConsumer, max_size: int, begin: Begin | None = None
) -> None:
    """Write the first file of the form that the body is to `upload`; `begin` is told its name before.

    Raises `TooLarge`, `BodyError`, `HTTPError`, `DigestMismatch`, and what `upload` and `begin` raise.
    """
    assert announcement.boundary is not None
    form = MultipartUpload(upload, announcement.boundary, max_size + MOST_AROUND, begin)
    if not announcement.digests:
        await body.deliver(form)
        form.finish()
        return
    check = DigestCheck(form, announcement.digests)
    await body.deliver(check)
    form.finish()
    await check.finish()


_TELLING = frozenset(
    [b"content-encoding", b"content-range", b"content-type", b"content-digest", b"repr-digest"]
)
"""Fields without which a body is just a file."""

_PLAIN = UploadHeaders(None, ())


def _boundary(request: IStreamedRequest) -> str | None:
    value = single_header(request, b"content-type") or b""
    if b"multipart" not in value.lower():
        return None
    kind, options = parse_options_header(value.decode("latin-1"))
    if kind != "multipart/form-data":
        return None
    boundary: str = options.get("boundary", "")
    if not BOUNDARY.fullmatch(boundary):
        raise HTTPError(400, "The form's boundary is missing or malformed.")
    return boundary


def _digests(request: IStreamedRequest) -> Iterable[Digest]:
    for name in (b"content-digest", b"repr-digest"):
        value = header_list(request, name)
        if value is not None:
            yield from parse_digests(value)
