"""An image on its way to a client: packed as it is stored, or as it was uploaded.

In: a gallery, an id, and a request. `Accept-Encoding` decides between the two forms of an image
that is stored packed; each has an entity tag of its own. Ranges are served of images that are stored as they
came. Of an image that is stored packed there are none: the end of it costs as much as all of it.

The image is for its owner only, and another one may take its place: caches ask each time.
"""

import re
from contextlib import nullcontext

from twisted.internet.defer import CancelledError, Deferred

from filestored.errors import InvalidThumbnailSize, Overloaded
from filestored.http.response import prepare
from filestored.images.cancellation import Cancellation
from filestored.images.thumbnails.thumbnails import thumbnail_bounds
from filestored.interfaces import IBlob, IGallery, Image, IStreamedRequest, IThumbnails, Thumbnail
from filestored.web.download import Representation, send
from filestored.web.errors import Field, HTTPError, client_left, precondition_failed
from filestored.web.headers.conditional import Precondition, evaluate_preconditions
from filestored.web.headers.disposition import content_disposition
from filestored.web.headers.negotiation import codings
from filestored.web.headers.values import header_list
from filestored.web.imageapi.stream_limit import Streams

_KEPT: tuple[Field, ...] = (
    (b"Cache-Control", b"private, no-cache"),
    (b"Vary", b"Accept-Encoding"),
)
_SAFE: tuple[Field, ...] = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"default-src 'none'; sandbox"),
)


async def send_image(gallery: IGallery, identity: str, request: IStreamedRequest, streams: Streams) -> None:
    """Answer a GET or HEAD with an image; one that has to be decompressed takes a place in `streams`.

    Raises `NotFound`, `Overloaded`, or `HTTPError` (406, 412, 416).
    """
    wanted = codings(header_list(request, b"accept-encoding"))

    def gzipped(image: Image) -> bool:
        return image.gzipped and wanted.gzip and (wanted.preferred or not wanted.identity)

    image, blob = await gallery.open(identity, gzipped)
    if not (wanted.identity or gzipped(image)):
        blob.close()
        raise HTTPError(406, "The image cannot be had in any of these codings", (b"Vary", b"Accept-Encoding"))
    dress = _dress(image, gzipped=gzipped(image))
    unpacked = image.gzipped and not gzipped(image)
    try:
        with streams.place(gallery.owner) if unpacked else nullcontext():
            await _send(blob, request, dress)
    except Overloaded:
        blob.close()
        raise


async def _send(blob: IBlob, request: IStreamedRequest, dress: Representation) -> None:
    sending = send(blob, request, dress)
    if sending is not None:
        await sending


def _dress(image: Image, *, gzipped: bool) -> Representation:
    kind = image.media_type.encode("ascii")
    ranges: Field = (b"Accept-Ranges", b"none" if image.gzipped else b"bytes")
    form: tuple[Field, ...] = ((b"Content-Encoding", b"gzip"),) if gzipped else ()
    return Representation(
        kind,
        prepare((b"Content-Type", kind), ranges, *form, *_KEPT, *_SAFE),
        prepare(*_KEPT),
        ranged=not image.gzipped,
        tag_suffix=b"-gzip" if gzipped else b"",
        disposition=content_disposition(image.name.encode("utf-8"), "inline"),
    )


# --- Thumbnails as answers: ``get-image/<id>/?width=W&height=H``.


CACHE_CONTROL = b"private, no-cache"
"""Kept by the browser, and shown after we said that it is still the one."""

_NAMES = (b"width", b"height")
_SIZE = re.compile(rb"[0-9]{1,9}")
_FIXED: tuple[Field, ...] = (
    (b"Cache-Control", CACHE_CONTROL),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"default-src 'none'; sandbox"),
)


def wants_thumbnail(request: IStreamedRequest) -> bool:
    """Whether the query names a width or a height."""
    return any(name in request.args for name in _NAMES)


async def render_thumbnail(
    request: IStreamedRequest, blob: IBlob, thumbnails: IThumbnails, owner: str
) -> None:
    """Answer a GET or HEAD with a thumbnail of the image in `blob`, which is `owner`'s, and close it.

    The work ends when the client leaves, also when it closes its sending side only. Raises
    `InvalidThumbnailSize` (400), `HTTPError` (400, 412), or as `IImageDecoder.thumbnail` does; nothing was
    sent then.
    """
    making = None
    try:
        bounds = thumbnail_bounds(*(_side(request, name) for name in _NAMES))
        tag = b'"%s-%dx%d"' % (blob.digest.hex.encode("ascii"), *bounds)
        verdict = evaluate_preconditions(
            tag, header_list(request, b"if-match"), header_list(request, b"if-none-match"), reading=True
        )
        if verdict is Precondition.FAILED:
            raise precondition_failed()
        if verdict is Precondition.PROCEED:
            making = thumbnails.get(blob, bounds, owner)  # which closes the blob
    finally:
        if making is None:
            blob.close()
    made = None if making is None else await _wait(request, making)
    for name, value in (*_FIXED, (b"ETag", b"W/" + tag)):
        request.setHeader(name, value)
    if made is None:
        request.setResponseCode(304)
    else:
        _write(request, made.content_type, made.data)
    request.finish()


async def _wait(request: IStreamedRequest, making: "Deferred[Thumbnail]") -> Thumbnail:
    waiting = Cancellation()
    request.when_left(waiting.cancel)
    try:
        return await waiting.wait(making)
    except CancelledError:
        raise client_left() from None


def _write(request: IStreamedRequest, content_type: str, data: bytes) -> None:
    request.setResponseCode(200)
    request.setHeader(b"Content-Type", content_type.encode("ascii"))
    request.setHeader(b"Content-Length", b"%d" % len(data))
    if request.method != b"HEAD":
        request.write(data)


def _side(request: IStreamedRequest, name: bytes) -> int | None:
    """The length of a side in pixels; None when it is not asked for. Raises `InvalidThumbnailSize`."""
    values = request.args.get(name, ())
    if not values:
        return None
    if len(values) > 1 or not _SIZE.fullmatch(values[0]):
        raise InvalidThumbnailSize
    return int(values[0])
