"""Uploads: from the body of a request to the store.

In: a request whose body has not arrived. `UploadHeaders.of` rejects what the request head shows already.
`receive` makes an upload of the store the consumer of the body; disk and socket pause each other through it.
Out: an `UploadResult`, or an error, after which nothing remains stored.

Of a form the first file is stored (`multipart_form`). A body of any other type is the file itself, also
``application/x-www-form-urlencoded``, which ``curl --data-binary`` declares for all data.
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
from filestored.web.headers.values import single_header
from filestored.web.multipart_form import BOUNDARY, MAX_FORM_OVERHEAD_BYTES, MultipartUpload, OnFilename


@dataclass(frozen=True, slots=True)
class UploadHeaders:
    """The `boundary` of a form, None for other content; and the announced `digests` of the content."""

    boundary: str | None
    digests: tuple[Digest, ...]

    @classmethod
    def of(cls, request: IStreamedRequest) -> "UploadHeaders":
        """Read the request headers. Raises `HTTPError` or `MalformedDigest`."""
        headers = request.getAllHeaders()
        if not _REJECTED_HEADERS.isdisjoint(headers):
            _check_encoding(request)
        if not request.body.present:
            raise HTTPError(400, "The request has no body. An empty file has a Content-Length of 0.")
        boundary = _boundary(request) if b"content-type" in headers else None
        return cls(boundary, () if _DIGEST_HEADERS.isdisjoint(headers) else _digests(request))


_REJECTED_HEADERS = frozenset([b"content-encoding", b"content-range"])
_DIGEST_HEADERS = frozenset([b"content-digest", b"repr-digest"])


def _check_encoding(request: IStreamedRequest) -> None:
    encoding = request.header(b"content-encoding") or b"identity"
    if encoding.strip().lower() != b"identity":
        raise HTTPError(415, "Send the file without a Content-Encoding.", (b"Accept-Encoding", b"identity"))
    if request.header(b"content-range") is not None:
        raise HTTPError(400, "A file is uploaded whole; Content-Range is not understood (RFC 9110, 14.5).")


def _boundary(request: IStreamedRequest) -> str | None:
    value = request.header(b"content-type") or b""
    if b"," in value:
        value = single_header(request, b"content-type") or b""
    if b"multipart" not in value.lower():
        return None
    media_type, options = parse_options_header(value.decode("latin-1"))
    if media_type != "multipart/form-data":
        return None
    boundary: str = options.get("boundary", "")
    if not BOUNDARY.fullmatch(boundary):
        raise HTTPError(400, "The form's boundary is missing or malformed.")
    return boundary


def _digests(request: IStreamedRequest) -> tuple[Digest, ...]:
    values = (request.header(b"content-digest"), request.header(b"repr-digest"))
    return tuple(digest for value in values if value is not None for digest in parse_digests(value))


def receive(
    body: IBody, headers: UploadHeaders, store: IStore, expected: Iterable[Digest] = ()
) -> Deferred[UploadResult]:
    """Store the body, or the first file of a form, which must have the `expected` digests.

    Raises, or fails with, `UploadRefused`, `BodyError` or `HTTPError`; nothing is stored then.
    """
    if headers.boundary is None:
        upload = store.upload((*expected, *headers.digests), body.length)
        delivered = maybeDeferred(body.deliver, upload)
    else:
        check_form_size(body, store.max_size)
        upload = store.upload(expected)
        delivered = Deferred.fromCoroutine(extract_file(body, headers, upload, store.max_size))
    return delivered.addCallback(lambda _: upload.commit()).addErrback(_abort, upload)


def _abort(failure: Failure, upload: IUpload) -> Failure:
    upload.abort()
    return failure


def check_form_size(body: IBody, max_size: int) -> None:
    """Raise `TooLarge` for a form whose announced length exceeds any valid form with one file."""
    if body.length is not None and body.length > max_size + MAX_FORM_OVERHEAD_BYTES:
        raise TooLarge.than(max_size)


async def extract_file(
    body: IBody,
    headers: UploadHeaders,
    upload: IConsumer,
    max_size: int,
    on_filename: OnFilename | None = None,
) -> None:
    """Write the first file of a form to `upload`.

    Raises `TooLarge`, `BodyError`, `HTTPError`, `DigestMismatch`, and errors of `upload` and `on_filename`.
    """
    assert headers.boundary is not None
    form = MultipartUpload(upload, headers.boundary, max_size + MAX_FORM_OVERHEAD_BYTES, on_filename)
    if not headers.digests:
        await body.deliver(form)
        form.finish()
        return
    check = DigestCheck(form, headers.digests)
    await body.deliver(check)
    form.finish()
    await check.finish()
