"""An image on its way to a client: packed as it is stored, or as it was uploaded.

In: a gallery, an id, and a request. `Accept-Encoding` decides between the two forms of an image
that is stored packed; each has an entity tag of its own. Ranges are served of the original only, so
who asks for one gets that.

The image is for its owner only, and another one may take its place: caches ask each time.
"""

from filestored.http.response import prepare
from filestored.interfaces import IGallery, Image, IStreamedRequest
from filestored.web.disposition import content_disposition
from filestored.web.download import Dress, send
from filestored.web.fields import combined
from filestored.web.negotiation import codings
from filestored.web.refusal import Field, Refusal

_KEPT: tuple[Field, ...] = (
    (b"Cache-Control", b"private, no-cache"),
    (b"Vary", b"Accept-Encoding"),
)
_SAFE: tuple[Field, ...] = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"default-src 'none'; sandbox"),
)


async def show(gallery: IGallery, identity: str, request: IStreamedRequest) -> None:
    """Answer a GET or HEAD with an image. Raises `NotFound`, or `Refusal` (406, 412, 416)."""
    wanted = codings(combined(request, b"accept-encoding"))
    whole = request.method != b"GET" or request.getHeader(b"range") is None

    def packed(image: Image) -> bool:
        return image.packed and wanted.gzip and ((wanted.preferred and whole) or not wanted.identity)

    image, blob = await gallery.open(identity, packed)
    if not (wanted.identity or packed(image)):
        blob.close()
        raise Refusal(406, "The image cannot be had in any of these codings", (b"Vary", b"Accept-Encoding"))
    sending = send(blob, request, _dress(image, packed=packed(image)))
    if sending is not None:
        await sending


def _dress(image: Image, *, packed: bool) -> Dress:
    kind = image.media_type.encode("ascii")
    form: Field = (b"Content-Encoding", b"gzip") if packed else (b"Accept-Ranges", b"bytes")
    return Dress(
        kind,
        prepare((b"Content-Type", kind), form, *_KEPT, *_SAFE),
        prepare(*_KEPT),
        ranged=not packed,
        tag_suffix=b"-gzip" if packed else b"",
        disposition=content_disposition(image.name.encode("utf-8"), "inline"),
    )
