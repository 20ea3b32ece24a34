"""Thumbnails as answers: ``get-image/<id>/?width=W&height=H``.

In: a request that `wants_thumbnail` and the open blob of the image it names. Out: 200 with a small JPEG
or WebP, 304 for who has it already, 400 for a size that makes no sense.

Its entity tag is made of the image's digest and the size, so that an answer of 304 costs no more than
reading the request; it is a weak one, for another version of Pillow may write other bytes. The image
behind an id may change, and is for its owner only: caches ask each time.
"""

import re

from twisted.internet.defer import CancelledError, Deferred

from filestored.errors import UnusableSize
from filestored.images.cancellation import Cancellation
from filestored.images.thumbnails import thumbnail_bounds
from filestored.interfaces import IBlob, IStreamedRequest, IThumbnails, Thumbnail
from filestored.web.conditional import Verdict, judge
from filestored.web.fields import combined
from filestored.web.refusal import Field, client_left, precondition_failed

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

    The work ends when the client leaves, also when it closes its sending side only. Raises `UnusableSize`
    (400), `Refusal` (400, 412), or as `IPictures.thumbnail` does; nothing was sent then.
    """
    making = None
    try:
        bounds = thumbnail_bounds(*(_side(request, name) for name in _NAMES))
        tag = b'"%s-%dx%d"' % (blob.digest.hex.encode("ascii"), *bounds)
        verdict = judge(
            tag, combined(request, b"if-match"), combined(request, b"if-none-match"), reading=True
        )
        if verdict is Verdict.FAILED:
            raise precondition_failed()
        if verdict is Verdict.PROCEED:
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
    """The length of a side in pixels; None when it is not asked for. Raises `UnusableSize`."""
    values = request.args.get(name, ())
    if not values:
        return None
    if len(values) > 1 or not _SIZE.fullmatch(values[0]):
        raise UnusableSize
    return int(values[0])
