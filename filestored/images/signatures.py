"""Media type of an image by its file signature (magic number).

In: the first `SNIFF_BYTES` bytes, or all of a shorter file. Out: the media type, or None. The formats are
those of Python's former `imghdr`, and AVIF and HEIC. Signatures of two letters, as of BMP, are extended by a
few bytes, so that a text which happens to begin with them is refused.

SVG may contain scripts and is no image here.
"""

import re

SNIFF_BYTES = 64
"""Maximum length of a signature in bytes."""


def sniff_media_type(head: bytes) -> str | None:
    """Return the media type of a file that begins with `head`; None unless it is an image."""
    for pattern, kind in _KINDS:
        if pattern.match(head):
            return kind
    return _of_brands(head)


def _of_brands(head: bytes) -> str | None:
    """Return the type of AVIF and HEIC by the brands of the first box (ISO/IEC 14496-12, 4.3)."""
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
        # The header size that follows has few valid values.
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
