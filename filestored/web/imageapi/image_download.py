"""Responses with an image, or a thumbnail of it (``get-image/<id>/?width=W&height=H``).

In: a request, and a gallery or an open image. Out: a response. `Accept-Encoding` selects the gzipped or the
original form of an image that is stored gzipped; each has an entity tag of its own. Only images that are
stored uncompressed have ranges: decompression has to start at the first byte.

Images are private and replaceable, so caches must revalidate.
"""

import re
from contextlib import nullcontext

from twisted.internet.defer import CancelledError, Deferred

from filestored.errors import ImageRefused, InvalidThumbnailSize, Overloaded, TooLarge
from filestored.http.response import preformat
from filestored.images.cancellation import Cancellation
from filestored.images.thumbnails.thumbnails import thumbnail_bounds
from filestored.interfaces import (
    ALL_BYTES,
    IBlob,
    IGallery,
    Image,
    IStreamedRequest,
    IThumbnails,
    Thumbnail,
)
from filestored.web.download import SANDBOX, Representation, send, wanted_range
from filestored.web.errors import Field, HTTPError, client_disconnected
from filestored.web.headers.disposition import content_disposition
from filestored.web.headers.negotiation import codings
from filestored.web.imageapi.stream_limit import StreamLimit
from filestored.web.resource import start_not_modified

_CACHE_CONTROL: Field = (b"Cache-Control", b"private, no-cache")
_VARY: Field = (b"Vary", b"Accept-Encoding")
_THUMBNAIL_HEADERS = preformat(_CACHE_CONTROL, *SANDBOX)
_SIDE_NAMES = (b"width", b"height")
_SIDE = re.compile(rb"[0-9]{1,9}")


async def send_image(
    gallery: IGallery, image_id: str, request: IStreamedRequest, streams: StreamLimit
) -> None:
    """Respond to a GET or HEAD with an image; `streams` limits those that have to be decompressed.

    Raises `NotFound`, `Overloaded`, or `HTTPError` (406, 412, 416).
    """
    accepted = codings(request.header(b"accept-encoding"))

    def gzipped(image: Image) -> bool:
        return image.gzipped and accepted.gzip and (accepted.preferred or not accepted.identity)

    wanted = wanted_range(request)
    image, blob = await gallery.open(image_id, gzipped, wanted=wanted if wanted == ALL_BYTES else None)
    if not (accepted.identity or gzipped(image)):
        blob.close()
        raise HTTPError(406, "The image cannot be had in any of these codings", _VARY)
    decompressed = image.gzipped and not gzipped(image)
    try:
        with streams.slot(gallery.owner) if decompressed else nullcontext():
            sending = send(blob, request, _representation(image, gzipped=gzipped(image)))
            if sending is not None:
                await sending
    except Overloaded:
        blob.close()
        raise


def _representation(image: Image, *, gzipped: bool) -> Representation:
    content_type = image.media_type.encode("ascii")
    ranges: Field = (b"Accept-Ranges", b"none" if image.gzipped else b"bytes")
    encoding: tuple[Field, ...] = ((b"Content-Encoding", b"gzip"),) if gzipped else ()
    return Representation(
        content_type,
        preformat((b"Content-Type", content_type), ranges, *encoding, _CACHE_CONTROL, _VARY, *SANDBOX),
        preformat(_CACHE_CONTROL, _VARY),
        has_ranges=not image.gzipped,
        tag_suffix=b"-gzip" if gzipped else b"",
        disposition=content_disposition(image.name.encode("utf-8"), "inline"),
    )


def wants_thumbnail(request: IStreamedRequest) -> bool:
    """Return whether the query has a width or a height."""
    return any(name in request.args for name in _SIDE_NAMES)


async def send_thumbnail(request: IStreamedRequest, blob: IBlob, thumbnails: IThumbnails, owner: str) -> None:
    """Respond to a GET or HEAD with a thumbnail of the image of `owner` in `blob`, and close `blob`.

    The work is cancelled when the client disconnects or closes its sending side. Raises
    `InvalidThumbnailSize` (400), `HTTPError` (400, 406, 412), or other errors of `IImageDecoder.thumbnail`.
    """
    making = None
    try:
        bounds = thumbnail_bounds(*(_side(request, name) for name in _SIDE_NAMES))
        tag = b'"%s-%dx%d"' % (blob.digest.hex.encode("ascii"), *bounds)
        if not start_not_modified(request, tag, {}):
            making = thumbnails.get(blob, bounds, owner)  # closes the blob
    finally:
        if making is None:
            blob.close()
    thumbnail = None if making is None else await _cancellable(request, making)
    request.set_headers(_THUMBNAIL_HEADERS)
    request.setHeader(b"ETag", b"W/" + tag)
    if thumbnail is not None:
        request.setResponseCode(200)
        request.setHeader(b"Content-Type", thumbnail.content_type.encode("ascii"))
        request.setHeader(b"Content-Length", b"%d" % len(thumbnail.data))
        if request.method != b"HEAD":
            request.write(thumbnail.data)
    request.finish()


async def _cancellable(request: IStreamedRequest, making: "Deferred[Thumbnail]") -> Thumbnail:
    cancellation = Cancellation()
    request.on_disconnect(cancellation.cancel)
    try:
        return await cancellation.wait(making)
    except CancelledError:
        raise client_disconnected() from None
    except (ImageRefused, TooLarge) as error:
        raise HTTPError(406, str(error)) from None


def _side(request: IStreamedRequest, name: bytes) -> int | None:
    """Return the length of a side in pixels, or None. Raises `InvalidThumbnailSize`."""
    values = request.args.get(name, ())
    if not values:
        return None
    if len(values) > 1 or not _SIDE.fullmatch(values[0]):
        raise InvalidThumbnailSize
    return int(values[0])
