"""Image decoding with Pillow. Runs in a process of its own, within `resource_limits` and `sandbox`.

In: an open untrusted file. Out: nothing, or the bytes of a thumbnail; any error of a decoder means that the
file is not an image.

`verify` decodes every frame, because Pillow's own ``verify()`` checks only a part of many formats. Bytes
behind the image are ignored. The formats are those of Python's former `imghdr`, and AVIF. Pillow cannot
decode OpenEXR and HEIC, so these are refused in spite of their signatures. SVG may contain scripts and is no
image here.

Only the first image of a JPEG counts. The offsets in its index of further ones ("MPF") are often stale in
edited files.
"""

import warnings
from importlib import import_module
from io import BytesIO
from typing import BinaryIO

from PIL import AvifImagePlugin, Image, ImageCms, ImageFile

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "SGI", "SUN", "TIFF", "WEBP", "XBM")
"""Accepted formats, by Pillow's names."""

MAX_PIXELS = 100_000_000
"""Maximum number of pixels of one frame; more are a decompression bomb."""

MAX_FRAMES = 1000
"""Maximum number of frames of an animation, or pages of a TIFF."""

MAX_TOTAL_PIXELS = 200_000_000
"""Maximum number of pixels of all frames together."""

QUALITY = 82
"""JPEG and WebP quality of thumbnails, from 1 to 100; higher values only make larger files."""

_PLUGINS = ("Bmp", "Gif", "Jpeg", "Mpo", "Png", "Ppm", "Sgi", "Sun", "Tiff", "WebP", "Xbm")
_ORIENTATION = 0x0112
_STRIP_ROWS = 64  # rows of a reduced strip
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


class TooManyPixels(Exception):
    """The image has too many frames, or too many pixels in all of them."""


TOO_LARGE = (TooManyPixels, Image.DecompressionBombError)
"""Errors of images with too many pixels or frames."""


def prepare() -> None:
    """Import all plugins and set the limits; a confined decoder cannot import."""
    for plugin in _PLUGINS:
        import_module(f"PIL.{plugin}ImagePlugin")
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow warns from here on, and refuses twice as much
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a thread for each core exceeds the memory limit


def verify(file: BinaryIO) -> None:
    """Decode all frames of `file`; bytes behind the image are ignored. Raises any error of a decoder."""
    with _open(file) as image:
        if _format(image) == "MPO":
            image.load()
        else:
            _load_frames(image)


def thumbnail(file: BinaryIO, width: int, height: int) -> tuple[str, bytes]:
    """Return media type and bytes of a thumbnail of the first frame: upright, in sRGB, without metadata.

    It has at most `width` by `height` pixels, and never more than the image.
    """
    with _open(file) as image:
        box = _box(image, width, height)
        image.draft(None, (2 * box[0], 2 * box[1]))  # a JPEG is decoded at a reduced size
        image.load()
        turn = _UPRIGHT.get(_orientation(image))  # read again: Pillow turns a TIFF while it loads
        small = _reduced(image, box)
    small.thumbnail(box, Image.Resampling.LANCZOS)
    if turn is not None:
        small = small.transpose(turn)
    return _encode(_to_srgb(small))


def _open(file: BinaryIO) -> ImageFile.ImageFile:
    return Image.open(file, formats=FORMATS)


def _format(image: Image.Image) -> str:
    return image.format or ""


def _load_frames(image: ImageFile.ImageFile) -> None:
    """Decode all frames. Raises `TooManyPixels`, before decoding if the number of frames shows it."""
    frames = getattr(image, "n_frames", 1)
    if frames > MAX_FRAMES or _header_pixels(image, frames) > MAX_TOTAL_PIXELS:
        raise TooManyPixels
    pixels = 0
    for frame in range(frames):
        image.seek(frame)
        pixels += image.width * image.height  # a later frame may be larger than the first one
        if pixels > MAX_TOTAL_PIXELS:
            raise TooManyPixels
        image.load()


def _header_pixels(image: ImageFile.ImageFile, frames: int) -> int:
    """Return the pixels of all frames by the headers; frames of an animation count as the first one."""
    if _format(image) != "TIFF":
        return image.width * image.height * frames
    pixels = 0
    for page in range(frames):
        image.seek(page)
        pixels += image.width * image.height
    return pixels


def _box(image: Image.Image, width: int, height: int) -> tuple[int, int]:
    """Return the bounds of the image as stored, which swaps them if it lies on its side."""
    lies = _format(image) != "TIFF" and _orientation(image) >= 5
    return (height, width) if lies else (width, height)


def _orientation(image: Image.Image) -> int:
    """Return the orientation in Exif; 1 (upright) if it is missing or invalid."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, TypeError, ValueError):
        return 1
    return found if isinstance(found, int) else 1


def _reduced(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    """Return the image reduced to at least twice the size of `box`, in a simple mode.

    Works in strips, because the intermediate copies of a whole image take two or three times its memory.
    """
    factor = int(max(image.width / box[0], image.height / box[1]) / 2)
    if factor < 2:
        return _simple(image)
    strips = [
        _simple(_strip(image, top, factor)).reduce(factor) for top in _strip_offsets(image.height, factor)
    ]
    whole = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
    for number, strip in enumerate(strips):
        whole.paste(strip, (0, number * strips[0].height))
    whole.info = image.info
    return whole


def _strip_offsets(height: int, factor: int) -> range:
    return range(0, height, _STRIP_ROWS * factor)


def _strip(image: Image.Image, top: int, factor: int) -> Image.Image:
    return image.crop((0, top, image.width, min(top + _STRIP_ROWS * factor, image.height)))


def _simple(image: Image.Image) -> Image.Image:
    """Return the image in a mode that can be resampled: L, RGB, CMYK or RGBA."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    if image.mode == "I":
        return image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode in ("1", "F") else "RGB")


def _to_srgb(image: Image.Image) -> Image.Image:
    """Return the image in sRGB, without metadata."""
    profile = image.info.get("icc_profile")
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    converted = _convert_profile(profile, image, mode) if profile else None
    if converted is None:
        converted = image if image.mode in ("L", mode) else image.convert(mode)
    converted.info = {}
    return converted


def _convert_profile(profile: bytes, image: Image.Image, mode: str) -> Image.Image | None:
    """Convert from `profile` to sRGB; return None when it is invalid or does not fit the image."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _encode(image: Image.Image) -> tuple[str, bytes]:
    kind = "WEBP" if image.mode == "RGBA" else "JPEG"
    data = BytesIO()
    image.copy().save(data, kind, quality=QUALITY)  # Pillow asks for the working directory of an opened file
    return f"image/{kind.lower()}", data.getvalue()
