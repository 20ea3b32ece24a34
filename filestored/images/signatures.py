"""What kind of image a file is, told by its first bytes.

In: the first `ENOUGH` bytes, or all of a shorter file. Out: the media type, or None for what is no
image. These are the kinds that Python's `imghdr` knew, and AVIF and HEIC. Where its test
was two letters, as for BMP, a few more bytes are looked at, so that a text which happens to
begin with them is refused.

SVG is a program in disguise, and not an image here.
"""

import re

ENOUGH = 64
"""Bytes after which nothing more can be learned."""


def media_type(head: bytes) -> str | None:
    """The media type of a file that begins with `head`; None unless it is an image."""
    for pattern, kind in _KINDS:
        if pattern.match(head):
            return kind
    return _of_brands(head)


def _of_brands(head: bytes) -> str | None:
    """AVIF and HEIC: an ISO media file (ISO/IEC 14496-12, 4.3) says in its first box what it is."""
    if head[4:8] != b"ftyp":
        return None
    box = head[8 : int.from_bytes(head[:4])]
    brands = [box[:4], *(box[start : start + 4] for start in range(8, len(box), 4))]
    for brand in brands:
        if brand in _BRANDS:
            return _BRANDS[brand]
    return None


def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


_KINDS = [
    (_compiled(pattern), kind)
    for pattern, kind in (
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF.{4}WEBP", "image/webp"),
        (rb"II[*+]\0|MM\0[*+]", "image/tiff"),
        # The size of the header that follows is one of those that there ever were.
        (rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", "image/bmp"),
        (rb"P[14][\s#]", "image/x-portable-bitmap"),
        (rb"P[25][\s#]", "image/x-portable-graymap"),
        (rb"P[36][\s#]", "image/x-portable-pixmap"),
        (rb"#define[ \t]+\w", "image/x-xbitmap"),
        (rb"\x59\xa6\x6a\x95", "image/x-sun-raster"),
        # Storage 0 or 1, one or two bytes per channel, one to three dimensions.
        (rb"\x01\xda[\x00\x01][\x01\x02]\x00[\x01-\x03]", "image/x-sgi"),
        (rb"\x76\x2f\x31\x01", "image/x-exr"),
    )
]
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "image/heic"),
}
