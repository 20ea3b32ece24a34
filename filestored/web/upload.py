"""Uploads: from the body of a request to the store.

In: a request whose body has not arrived. `UploadHeaders.of` rejects what the request head shows already.
`receive` makes an upload of the store the consumer of the body; disk and socket pause each other through it.
Out: an `UploadResult`, or an error, after which nothing remains stored.

Of a form all files are stored, or the first one if the request names it (`forms`). A body of any other type
is the file itself, also ``application/x-www-form-urlencoded``, which ``curl --data-binary`` always declares.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure

from filestored.digest import Digest
from filestored.errors import TooLarge
from filestored.interfaces import (
    INLINE_HASH_MAX_BYTES,
    IBody,
    IStore,
    IStreamedRequest,
    IUpload,
    UploadResult,
)
from filestored.web.digest_check import DigestCheck
from filestored.web.errors import HTTPError
from filestored.web.forms.all_files import AllFiles
from filestored.web.forms.first_file import FirstFile, OnFilename
from filestored.web.forms.multipart_parser import MAX_FORM_OVERHEAD_BYTES, MultipartParser
from filestored.web.headers.digests import parse_digests
from filestored.web.headers.parameters import is_quoted, parse_parameters, without_quotes
from filestored.web.headers.values import single_header


class UploadHeaders(NamedTuple):
    """The `boundary` of a form, None for other content; and the announced `digests` of the content."""

    boundary: bytes | None
    digests: tuple[Digest, ...]

    @classmethod
    def of(cls, request: IStreamedRequest) -> "UploadHeaders":
        """Read the request headers. Raises `HTTPError` or `MalformedDigest`."""
        headers = request.received
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


def _boundary(request: IStreamedRequest) -> bytes | None:
    value = request.header(b"content-type") or b""
    if b"," in value:
        value = single_header(request, b"content-type") or b""
    media_type_only = value.lower().translate(None, b" \t").partition(b";")[0]
    if b"multipart/" not in media_type_only or b"form" not in media_type_only:
        return None
    try:
        media_type, parameters = parse_parameters(value.decode("latin-1"))
    except ValueError:
        raise _malformed_form_type() from None
    boundary = parameters.get("boundary", "")
    syntax = _QUOTED_BOUNDARY if is_quoted(boundary) else _PLAIN_BOUNDARY
    if media_type != "multipart/form-data" or not syntax.fullmatch(without_quotes(boundary)):
        raise _malformed_form_type()
    return without_quotes(boundary).encode("latin-1")


# More than RFC 2046 section 5.1.1 allows, which are 70 characters of fewer kinds.
_PLAIN_BOUNDARY = re.compile(r"[!#-\[\]-~\x80-\xff]{1,200}")
_QUOTED_BOUNDARY = re.compile(r"[ !#-\[\]-~\x80-\xff]{0,199}[!#-\[\]-~\x80-\xff]")


def _malformed_form_type() -> HTTPError:
    return HTTPError(400, "The Content-Type of a form is multipart/form-data; boundary=BOUNDARY")


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
        if body.length is not None and body.length <= INLINE_HASH_MAX_BYTES:
            data = body.read()
            if data is not None:
                return store.put(data, (*expected, *headers.digests))
        upload = store.upload((*expected, *headers.digests), body.length)
        delivered = maybeDeferred(body.deliver, upload)
    else:
        check_form_size(body, store.max_size)
        upload = store.upload(expected)
        delivered = Deferred.fromCoroutine(extract_file(body, headers, upload, store.max_size))
    return delivered.addCallback(lambda _: upload.commit()).addErrback(_abort, upload)


def receive_all(body: IBody, headers: UploadHeaders, store: IStore) -> Deferred[list[UploadResult]]:
    """Store all files of a form; fire with the results in order.

    Raises and fails as `receive`. Of a form with more than `MAX_HELD_FILES` files, or of which one
    cannot be committed, other files may be stored then.
    """
    check_form_size(body, store.max_size)
    files = AllFiles(store.upload_series(), _parser(headers, store.max_size))
    return Deferred.fromCoroutine(_store_form(body, headers, files))


async def _store_form(body: IBody, headers: UploadHeaders, files: AllFiles) -> list[UploadResult]:
    try:
        await _deliver_form(body, headers, files)
        return await files.commit()
    finally:
        files.abort()  # no effect on what is committed


def _abort(failure: Failure, upload: IUpload) -> Failure:
    upload.abort()
    return failure


def check_form_size(body: IBody, max_size: int) -> None:
    """Raise `TooLarge` for a form whose announced length exceeds that of any valid form."""
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
    await _deliver_form(body, headers, FirstFile(upload, _parser(headers, max_size), on_filename))


async def _deliver_form(body: IBody, headers: UploadHeaders, form: FirstFile | AllFiles) -> None:
    """Write a form to `form`, finish it, and check the announced digests, which cover all of it."""
    check = DigestCheck(form, headers.digests) if headers.digests else None
    await body.deliver(check or form)
    await form.finish()
    if check is not None:
        await check.finish()


def _parser(headers: UploadHeaders, max_size: int) -> MultipartParser:
    assert headers.boundary is not None
    return MultipartParser(headers.boundary, max_size)
