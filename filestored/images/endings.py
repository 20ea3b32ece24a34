"""Where an image ends, as far as its format tells.

In: all bytes of a file (``bytes``, or an ``mmap`` of it) and the name of its format. Out: the position
behind the image's last byte, so that `nothing_follows` can tell an image from one with a script, an
archive or a page behind it. Decoders stop reading at the end of the picture and never notice those.

The functions walk the outermost structure only (chunks, blocks, segments, boxes); what is inside is the
decoder's business. Every one of them fails with `Unfinished` when the structure runs over the end of
the file, so they also find truncated files whose decoder would be content with less.

Zero bytes behind an image are padding and always allowed. A TIFF is held together by offsets that may
point anywhere: it has no end, and is not in the table. What cameras put behind a JPEG stands in `trailers`.

Rejected: to search backwards for the closing marker; a second one, behind the script, is easily written.
"""

import re
import struct
from collections.abc import Callable
from mmap import mmap

from filestored.images.trailers import after_jpeg
from filestored.images.walking import Unfinished, boxes, jpeg

Data = bytes | mmap


def nothing_follows(kind: str, data: Data) -> bool:
    """Whether there is nothing but padding behind the image; `kind` is Pillow's name of the format.

    Also true of formats that have no end. Raises `Unfinished`.
    """
    if kind not in ENDINGS:
        return True
    try:
        end = ENDINGS[kind](data)
    except (struct.error, IndexError, ValueError):
        raise Unfinished from None
    if end > len(data):
        raise Unfinished
    padding = _ZEROS.match(data, end)
    return padding is not None and padding.end() == len(data)


def png(data: Data) -> int:
    """Behind the chunk IEND (PNG third edition, section 5)."""
    at, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
    return at


def gif(data: Data) -> int:
    """Behind the trailer (GIF89a, section 27)."""
    at = 13 + _colors(data[10])
    while (introducer := data[at]) != _GIF_TRAILER:
        if introducer == _GIF_EXTENSION:
            at = _after_blocks(data, at + 2)
        elif introducer == _GIF_IMAGE:
            at = _after_blocks(data, at + 11 + _colors(data[at + 9]))
        else:
            raise Unfinished
    return at + 1


def riff(data: Data) -> int:
    """What the header of a WebP says (RFC 9649, section 2.4)."""
    (size,) = struct.unpack_from("<I", data, 4)
    return 8 + int(size)


def bmp(data: Data) -> int:
    """What the header says; one that leaves its size open is not taken (BITMAPFILEHEADER)."""
    (size,) = struct.unpack_from("<I", data, 2)
    if not size:
        raise Unfinished
    return int(size)


def pnm(data: Data) -> int:
    """Behind the one raster that the header describes (netpbm: pbm(5), pgm(5), ppm(5))."""
    header = _PNM_HEADER[data[1:2] in b"14"].match(data)
    if header is None:
        raise Unfinished
    if data[1:2] in b"123":
        return _PNM_DIGITS.match(data, header.end()).end()  # type: ignore[union-attr]  # matches nothing, too
    width, height, *most = map(int, header.groups())
    if not most:
        return header.end() + (width + 7) // 8 * height
    return header.end() + width * height * (3 if data[1:2] == b"6" else 1) * (1 if most[0] < 256 else 2)


def sgi(data: Data) -> int:
    """Behind the last row (The SGI Image File Format, version 1.00)."""
    compressed, bytes_each, dimension, width, height, depth = struct.unpack_from(">BBHHHH", data, 2)
    height, depth = (height if dimension > 1 else 1), (depth if dimension > 2 else 1)
    if not compressed:
        return 512 + int(width * height * depth * bytes_each)
    rows = height * depth
    table = struct.unpack_from(f">{2 * rows}I", data, 512)
    return max(map(sum, zip(table[:rows], table[rows:], strict=True)), default=512)


def sun(data: Data) -> int:
    """Behind the raster (rasterfile(5)); files of the oldest type leave its length to be computed."""
    width, height, depth, length, _, _, colors = struct.unpack_from(">7I", data, 4)
    return 32 + int(colors) + int(length or (width * depth + 15) // 16 * 2 * height)


def xbm(data: Data) -> int:
    """Behind the brace that closes the first array (X11, XReadBitmapFile)."""
    found = _XBM.match(data)
    if found is None:
        raise Unfinished
    return found.end()


def avif(data: Data) -> int:
    """Behind the last box (ISO 14496-12, section 4.2)."""
    return boxes(data, 0)


def jpeg_with_trailers(data: Data) -> int:
    """Behind the picture and what a camera puts there."""
    return after_jpeg(data, jpeg(data, 0))


ENDINGS: dict[str, Callable[[Data], int]] = {
    "AVIF": avif,
    "BMP": bmp,
    "GIF": gif,
    "JPEG": jpeg_with_trailers,
    "MPO": jpeg_with_trailers,
    "PNG": png,
    "PPM": pnm,
    "SGI": sgi,
    "SUN": sun,
    "WEBP": riff,
    "XBM": xbm,
}
"""How each format, by Pillow's name, tells where an image ends."""

_GIF_TRAILER, _GIF_EXTENSION, _GIF_IMAGE = 0x3B, 0x21, 0x2C
_ZEROS = re.compile(rb"\0*")
_NUMBER = rb"(?:\s|#[^\n]*\n)+([0-9]{1,9})"
_PNM_HEADER = {
    True: re.compile(rb"P[14]" + 2 * _NUMBER + rb"\s"),
    False: re.compile(rb"P[2356]" + 3 * _NUMBER + rb"\s"),
}
_PNM_DIGITS = re.compile(rb"[\s0-9]*")
_XBM = re.compile(rb"[^}]*\}\s*;?\s*")


def _colors(flags: int) -> int:
    """The size of the colour table that these flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: Data, at: int) -> int:
    """Behind a chain of sub-blocks, the last of which is empty."""
    while size := data[at]:
        at += 1 + size
    return at + 1
