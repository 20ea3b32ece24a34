"""Small pictures in every format that is an image here, and hostile ones."""

import struct
import zlib
from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image

SIZE = (97, 61)
_RAMP = Image.linear_gradient("L").resize(SIZE)
PICTURE = Image.merge("RGB", (_RAMP, _RAMP.transpose(0), _RAMP.transpose(1)))
TURNED = PICTURE.rotate(20)


def encode(image: Image.Image, kind: str, **settings: Any) -> bytes:
    data = BytesIO()
    image.save(data, kind, **settings)
    return data.getvalue()


def _frames(kind: str) -> bytes:
    return encode(PICTURE, kind, save_all=True, append_images=[TURNED, PICTURE])


SAMPLES = {
    "png": encode(PICTURE, "PNG"),
    "png with alpha": encode(PICTURE.convert("RGBA"), "PNG"),
    "png with palette": encode(PICTURE.convert("P"), "PNG"),
    "png of 16 bits": encode(_RAMP.convert("I;16"), "PNG"),
    "png animated": _frames("PNG"),
    "gif": encode(PICTURE, "GIF"),
    "gif animated": _frames("GIF"),
    "jpeg": encode(PICTURE, "JPEG"),
    "jpeg progressive": encode(PICTURE, "JPEG", progressive=True),
    "jpeg in cmyk": encode(PICTURE.convert("CMYK"), "JPEG"),
    "webp": encode(PICTURE, "WEBP"),
    "webp lossless": encode(PICTURE, "WEBP", lossless=True),
    "webp animated": _frames("WEBP"),
    "bmp": encode(PICTURE, "BMP"),
    "tiff": encode(PICTURE, "TIFF"),
    "tiff lzw": encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "tiff jpeg": encode(PICTURE, "TIFF", compression="jpeg"),
    "tiff of pages": _frames("TIFF"),
    "ppm": encode(PICTURE, "PPM"),
    "ppm plain": b"P3\n# two by two\n2 2\n255\n" + b"1 2 3\n" * 4,
    "pgm": encode(_RAMP, "PPM"),
    "pgm of 16 bits": encode(_RAMP.convert("I;16"), "PPM"),
    "pbm": encode(_RAMP.convert("1"), "PPM"),
    "sgi": encode(PICTURE, "SGI"),
    "sun": struct.pack(">8I", 0x59A66A95, 4, 4, 24, 48, 1, 0, 0) + bytes(range(48)),
    "xbm": encode(_RAMP.convert("1"), "XBM"),
    "avif": encode(PICTURE, "AVIF"),
    "avif animated": _frames("AVIF"),
}
"""The bytes of a picture, by what they are."""


def samsung(*blocks: bytes, image: bytes = SAMPLES["jpeg"]) -> bytes:
    """Return a JPEG followed by blocks and their directory, as Samsung phones write them."""
    entries, at = b"", sum(map(len, blocks))
    for block in blocks:
        entries += struct.pack("<HHII", 0, 0x0A01, at, len(block))
        at -= len(block)
    directory = struct.pack("<4sII", b"SEFH", 107, len(blocks)) + entries
    return image + b"".join(blocks) + directory + struct.pack("<I4s", len(directory), b"SEFT")


CAMERA = {
    "preview": encode(PICTURE, "MPO", save_all=True, append_images=[TURNED]),
    "preview after padding": SAMPLES["jpeg"] + bytes(2000) + SAMPLES["jpeg progressive"],
    "motion photo": SAMPLES["jpeg"]
    + struct.pack(">I4s8s", 16, b"ftyp", b"mp42isom")
    + struct.pack(">I4sI", 12, b"mdat", 7),
    "blocks with a directory": samsung(b"\0\0one", b"\0\0and a second"),
}
"""JPEGs with the trailers that cameras append."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int) -> bytes:
    """A whole and true PNG of black, one bit for a pixel, however large."""
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def laborious_gif(side: int, frames: int) -> bytes:
    """A small file with a lot of work in it: the same empty frame over and over."""
    one = encode(Image.new("L", (side, side)), "GIF")
    start = 13 + 3 * 2 ** ((one[10] & 7) + 1)
    return one[:start] + one[start:-1] * frames + b";"


@cache
def _progressive_jpeg(side: int) -> bytes:
    return encode(Image.new("L", (side, side)), "JPEG", progressive=True)


def laborious_jpeg(side: int, scans: int, comment: bytes = b"") -> bytes:
    """A small file with a lot of work in it: the last scan of a progressive picture over and over."""
    one = _progressive_jpeg(side)
    at = one.rindex(b"\xff\xda")
    head = one[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment + one[2:at]
    return head + one[at:-2] * scans + one[-2:]


HALF_A_JPEG = encode(Image.effect_noise((400, 300), 80), "JPEG")[:20_000]
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
SCRIPT = b"<script>alert(document.domain)</script>"
ZIP = b"PK\x05\x06" + bytes(18)


ORIENTATION = 0x0112


def four_corners(orientation: int, kind: str, mode: str = "RGB") -> bytes:
    """A picture that lies as `orientation` says: upright, 60 by 40, red on top left, blue on top right."""
    upright = Image.new(mode, (60, 40), "white")
    upright.paste("red", (0, 0, 20, 20))
    upright.paste("blue", (40, 0, 60, 20))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    lying = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    if kind == "TIFF":
        return encode(lying, kind, tiffinfo={ORIENTATION: orientation})
    return encode(lying, kind, exif=exif)
