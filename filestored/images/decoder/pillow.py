"""Image decoding with Pillow. Runs in a process of its own, within `resource_limits` and `sandbox`.

In: an open untrusted file. Out: nothing, or the bytes of a thumbnail; any error of a decoder means that the
file is not an image, unless it shows a limit (`TOO_LARGE`, `TOO_COSTLY`).

`verify` decodes every frame, because Pillow's own ``verify()`` checks only a part of many formats. It makes a
small thumbnail too, so that each accepted image has one. Bytes behind the image are ignored. Of a HEIC only
the primary image counts, which is the one that viewers show.

A JPEG is decoded at a reduced size. That reads all of its data and takes a fraction of the memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO

from PIL import Image, ImageFile

from filestored.images.decoder import pixel_limits
from filestored.images.decoder.colours import scale_transparency, simple, to_srgb
from filestored.images.decoder.pixel_limits import PixelLimits, TooManyPixels, TooMuchMemory
from filestored.images.decoder.plugins import FORMATS, ORIENTATION
from filestored.images.decoder.png_checksums import check_checksums

QUALITY = 82
"""JPEG and WebP quality of thumbnails, from 1 to 100; higher values only make larger files."""

TOO_LARGE = pixel_limits.TOO_LARGE
"""Errors of images with too many pixels or frames."""

TOO_COSTLY = (TooMuchMemory, MemoryError)
"""Errors of images that take too much memory."""

_CHECK_BOX = (64, 64)  # bounds of the thumbnail that `verify` makes
_STRIP_ROWS = 512  # rows of a strip of the image, if one row of the result does not need more
_END_OF_JPEG = b"\xff\xd9"
_SEARCH_BYTES = 1024 * 1024
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that makes an image upright, by orientation (Exif 3.0, section 4.6.5.1)."""

_LYING = (5, 6, 7, 8)
"""Orientations in which width and height are exchanged."""


def verify(file: BinaryIO, limits: PixelLimits) -> None:
    """Decode all frames of `file` and make a thumbnail. Raises any error of a decoder."""
    with _open(file, limits) as image:
        _check_file(file, image)
        frames = 1 if image.format == "HEIF" else getattr(image, "n_frames", 1)
        limits.check_frames(image, frames)
        image.seek(0)
        _make_thumbnail(image, *_CHECK_BOX)
        _load_frames(image, frames, limits)


def thumbnail(file: BinaryIO, width: int, height: int, limits: PixelLimits) -> tuple[str, bytes]:
    """Return media type and bytes of a thumbnail of the first frame: upright, in sRGB, without metadata.

    It has at most `width` by `height` pixels, and never more than the image.
    """
    with _open(file, limits) as image:
        return _make_thumbnail(image, width, height)


@contextmanager
def _open(file: BinaryIO, limits: PixelLimits) -> Iterator[ImageFile.ImageFile]:
    limits.check_webp(file)
    with Image.open(file, formats=FORMATS) as image:
        limits.check_open(image)
        scale_transparency(image)
        yield image


def _check_file(file: BinaryIO, image: ImageFile.ImageFile) -> None:
    """Raise an error for damage that Pillow accepts; leave `file` where it is."""
    start = file.tell()
    if image.format == "PNG":
        check_checksums(file)
        if image.mode == "P" and image.palette is None:
            raise ValueError("the PNG has no palette")
    elif image.format == "JPEG":
        _check_end_of_jpeg(file)
    file.seek(start)


def _check_end_of_jpeg(file: BinaryIO) -> None:
    """Raise `EOFError` for a JPEG that was cut and filled with other bytes, which libjpeg accepts.

    `file` is at the scan. Its data contain no end marker, in which 0xFF stands before another byte than 0.
    """
    before = b""
    while piece := file.read(_SEARCH_BYTES):
        if _END_OF_JPEG in before + piece:
            return
        before = piece[-1:]
    raise EOFError("the JPEG has no end")


def _load_frames(image: ImageFile.ImageFile, frames: int, limits: PixelLimits) -> None:
    """Decode all frames but the first one. Raises `TooManyPixels`."""
    pixels = image.width * image.height
    for frame in range(1, frames):
        image.seek(frame)
        size = image.width * image.height  # a later frame may be larger than the first one
        pixels += size
        if size > limits.pixels or pixels > limits.total:
            raise TooManyPixels
        image.load()


def _make_thumbnail(image: ImageFile.ImageFile, width: int, height: int) -> tuple[str, bytes]:
    box = _box(image, width, height)
    image.draft(None, (2 * box[0], 2 * box[1]))  # a JPEG is decoded at a reduced size
    image.load()
    turn = _UPRIGHT.get(_orientation(image))  # read again: Pillow turns a TIFF while it loads
    small = _reduced(image, box)
    small.thumbnail(box, Image.Resampling.LANCZOS)
    if turn is not None:
        small = small.transpose(turn)
    return _encode(to_srgb(small))


def _box(image: Image.Image, width: int, height: int) -> tuple[int, int]:
    """Return the bounds of the image as stored, which swaps them if it lies on its side."""
    lies = image.format != "TIFF" and _orientation(image) in _LYING
    return (height, width) if lies else (width, height)


def _orientation(image: Image.Image) -> int:
    """Return the orientation in Exif; 1 (upright) if it is missing or cannot be read."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken Exif raises errors of many kinds
        return 1
    return found if isinstance(found, int) else 1


def _reduced(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    """Return the image reduced to at least twice the size of `box`, in a simple mode.

    Works in strips, because the intermediate copies of a whole image take two or three times its memory.
    """
    factor = max(1, int(max(image.width / box[0], image.height / box[1]) / 2))
    reduced_rows = max(1, _STRIP_ROWS // factor)
    rows = reduced_rows * factor
    whole = None
    for number, top in enumerate(range(0, image.height, rows)):
        strip = simple(image.crop((0, top, image.width, min(top + rows, image.height)))).reduce(factor)
        if whole is None:
            whole = Image.new(strip.mode, (strip.width, -(-image.height // factor)))
        whole.paste(strip, (0, number * reduced_rows))
    assert whole is not None
    whole.info = image.info
    return whole


def _encode(image: Image.Image) -> tuple[str, bytes]:
    kind = "WEBP" if image.mode == "RGBA" else "JPEG"
    data = BytesIO()
    image.copy().save(data, kind, quality=QUALITY)  # Pillow asks for the working directory of an opened file
    return f"image/{kind.lower()}", data.getvalue()
