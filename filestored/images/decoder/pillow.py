"""What is done to a picture, with Pillow. Runs in a process of its own, behind `confinement`.

In: an open file that nobody vouches for. Out: nothing, or the bytes of a thumbnail; whatever a decoder
raises instead means that the file is not an image.

`verify` decodes every frame, for Pillow's own ``verify()`` is content with half of many formats. The
formats are those that `imghdr` knew, and AVIF. Two that a first look recognises Pillow can't decode,
OpenEXR and HEIC: they are refused wherever pictures are looked into. An SVG is a program, not a picture.

Of a JPEG the first picture counts. What its index of further ones ("MPF") points at is often stale in
files that were edited, and is not what anybody means by the image.
"""

import warnings
from importlib import import_module
from io import BytesIO
from typing import BinaryIO

from PIL import AvifImagePlugin, Image, ImageCms, ImageFile

MEDIA_TYPES = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "SGI", "SUN", "TIFF", "WEBP", "XBM")
"""The formats that are images here, by the names that Pillow has for them."""

MOST_PIXELS = 100_000_000
"""Pixels of one frame. Larger ones are taken for decompression bombs."""

MOST_FRAMES = 1000
"""Frames of an animation, or pages of a TIFF."""

MAX_PIXELS_IN_ALL = 200_000_000
"""Pixels of all frames together. A thousand frames of 25 million pixels are no image that anybody means."""

QUALITY = 82
"""Of thumbnails, from 1 to 100: from here on only their size gets better."""

_PLUGINS = ("Bmp", "Gif", "Jpeg", "Mpo", "Png", "Ppm", "Sgi", "Sun", "Tiff", "WebP", "Xbm")
_ORIENTATION = 0x0112
_STRIP = 64  # rows of what is left of a strip
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its orientation (Exif 3.0, section 4.6.5.1)."""


class TooManyPixels(Exception):
    """The image has too many frames, or too many pixels in all of them."""


TOO_LARGE = (TooManyPixels, Image.DecompressionBombError)
"""What is raised for an image beyond the bounds on pixels and frames."""


def prepare() -> None:
    """Load what may be needed, once, and set the bounds: no decoder opens a module later."""
    for plugin in _PLUGINS:
        import_module(f"PIL.{plugin}ImagePlugin")
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow warns from here on, and refuses twice as much
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a thread for each core would burst the bound on memory


def verify(file: BinaryIO) -> None:
    """Decode all frames of `file`; bytes behind the image are ignored. Raises any error of a decoder."""
    with _open(file) as image:
        if _kind(image) == "MPO":
            image.load()
        else:
            _load_frames(image)


def thumbnail(file: BinaryIO, width: int, height: int) -> tuple[str, bytes]:
    """A small version of the first frame, upright, in sRGB, without metadata: media type and bytes.

    It is at most `width` by `height` pixels large, and never larger than the picture.
    """
    with _open(file) as image:
        box = _box(image, width, height)
        image.draft(None, (2 * box[0], 2 * box[1]))  # a JPEG is decoded small to begin with
        image.load()
        turn = _UPRIGHT.get(_orientation(image))  # anew: Pillow turns a TIFF while it loads
        small = _reduced(image, box)
    small.thumbnail(box, Image.Resampling.LANCZOS)
    if turn is not None:
        small = small.transpose(turn)
    return _encode(_in_srgb(small))


def _open(file: BinaryIO) -> ImageFile.ImageFile:
    return Image.open(file, formats=MEDIA_TYPES)


def _kind(image: Image.Image) -> str:
    return image.format or ""


def _load_frames(image: ImageFile.ImageFile) -> None:
    """Decode all frames. Raises `TooManyPixels`, before decoding if the number of frames shows it."""
    frames = getattr(image, "n_frames", 1)
    if frames > MOST_FRAMES or _pixels_announced(image, frames) > MAX_PIXELS_IN_ALL:
        raise TooManyPixels
    pixels = 0
    for frame in range(frames):
        image.seek(frame)
        pixels += image.width * image.height  # a later frame may be larger than the first one
        if pixels > MAX_PIXELS_IN_ALL:
            raise TooManyPixels
        image.load()


def _pixels_announced(image: ImageFile.ImageFile, frames: int) -> int:
    """Pixels of all frames, from headers only. Frames of an animation are as large as the first one."""
    if _kind(image) != "TIFF":
        return image.width * image.height * frames
    pixels = 0
    for page in range(frames):
        image.seek(page)
        pixels += image.width * image.height
    return pixels


def _box(image: Image.Image, width: int, height: int) -> tuple[int, int]:
    """The bounds of the picture as it lies in the file, on its side perhaps."""
    lies = _kind(image) != "TIFF" and _orientation(image) >= 5
    return (height, width) if lies else (width, height)


def _orientation(image: Image.Image) -> int:
    """As Exif has it; 1, upright, where it has nothing that makes sense."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, TypeError, ValueError):
        return 1
    return found if isinstance(found, int) else 1


def _reduced(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    """Roughly smaller, still at least twice as large as `box`, in a simple mode.

    Done in strips: what a whole large picture becomes on the way takes two or three times its memory.
    """
    factor = int(max(image.width / box[0], image.height / box[1]) / 2)
    if factor < 2:
        return _simple(image)
    strips = [_simple(_strip(image, top, factor)).reduce(factor) for top in _tops(image.height, factor)]
    whole = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
    for number, strip in enumerate(strips):
        whole.paste(strip, (0, number * strips[0].height))
    whole.info = image.info
    return whole


def _tops(height: int, factor: int) -> range:
    return range(0, height, _STRIP * factor)


def _strip(image: Image.Image, top: int, factor: int) -> Image.Image:
    return image.crop((0, top, image.width, min(top + _STRIP * factor, image.height)))


def _simple(image: Image.Image) -> Image.Image:
    """The same in a mode that can be made smaller well: L, RGB, CMYK or RGBA."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    if image.mode == "I":
        return image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode in ("1", "F") else "RGB")


def _in_srgb(image: Image.Image) -> Image.Image:
    """With the colours that it shows wherever no profile is heeded; without any metadata."""
    profile = image.info.get("icc_profile")
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    converted = _apply(profile, image, mode) if profile else None
    if converted is None:
        converted = image if image.mode in ("L", mode) else image.convert(mode)
    converted.info = {}
    return converted


def _apply(profile: bytes, image: Image.Image, mode: str) -> Image.Image | None:
    """From the colours of `profile` to sRGB; None when it does not fit the image or is none."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _encode(image: Image.Image) -> tuple[str, bytes]:
    kind = "WEBP" if image.mode == "RGBA" else "JPEG"
    data = BytesIO()
    image.copy().save(data, kind, quality=QUALITY)  # of an opened file Pillow asks for the working directory
    return f"image/{kind.lower()}", data.getvalue()
