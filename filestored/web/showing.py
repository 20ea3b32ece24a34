"""An image on its way to a client: packed as it is stored, or as it was uploaded.

In: a gallery, an id, and a request. `Accept-Encoding` decides between the two forms of an image
that is stored packed; each has an entity tag of its own. Ranges are served of images that are stored as they
came. Of an image that is stored packed there are none: the end of it costs as much as all of it.

The image is for its owner only, and another one may take its place: caches ask each time.
"""

from contextlib import nullcontext

from filestored.errors import Overloaded
from filestored.http.response import prepare
from filestored.interfaces import IBlob, IGallery, Image, IStreamedRequest
from filestored.web.disposition import content_disposition
from filestored.web.download import Dress, send
from filestored.web.fields import combined
from filestored.web.negotiation import codings
from filestored.web.refusal import Field, Refusal
from filestored.web.streams import Streams

_KEPT: tuple[Field, ...] = (
    (b"Cache-Control", b"private, no-cache"),
    (b"Vary", b"Accept-Encoding"),
)
_SAFE: tuple[Field, ...] = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"default-src 'none'; sandbox"),
)


async def show(gallery: IGallery, identity: str, request: IStreamedRequest, streams: Streams) -> None:
    """Answer a GET or HEAD with an image; one that has to be decompressed takes a place in `streams`.

    Raises `NotFound`, `Overloaded`, or `Refusal` (406, 412, 416).
    """
    wanted = codings(combined(request, b"accept-encoding"))

    def packed(image: Image) -> bool:
        return image.packed and wanted.gzip and (wanted.preferred or not wanted.identity)

    image, blob = await gallery.open(identity, packed)
    if not (wanted.identity or packed(image)):
        blob.close()
        raise Refusal(406, "The image cannot be had in any of these codings", (b"Vary", b"Accept-Encoding"))
    dress = _dress(image, packed=packed(image))
    unpacked = image.packed and not packed(image)
    try:
        with streams.place(gallery.owner) if unpacked else nullcontext():
            await _send(blob, request, dress)
    except Overloaded:
        blob.close()
        raise


async def _send(blob: IBlob, request: IStreamedRequest, dress: Dress) -> None:
    sending = send(blob, request, dress)
    if sending is not None:
        await sending


def _dress(image: Image, *, packed: bool) -> Dress:
    kind = image.media_type.encode("ascii")
    ranges: Field = (b"Accept-Ranges", b"none" if image.packed else b"bytes")
    form: tuple[Field, ...] = ((b"Content-Encoding", b"gzip"),) if packed else ()
    return Dress(
        kind,
        prepare((b"Content-Type", kind), ranges, *form, *_KEPT, *_SAFE),
        prepare(*_KEPT),
        ranged=not image.packed,
        tag_suffix=b"-gzip" if packed else b"",
        disposition=content_disposition(image.name.encode("utf-8"), "inline"),
    )
