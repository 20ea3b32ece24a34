"""Pillow's plugins for the accepted formats, imported and adjusted before the process is confined.

The formats are those of Python's former `imghdr`, AVIF, and HEIC with the package pillow-heif (the extra
``heic``). SVG may contain scripts and is no image here.

A JPEG is its first image alone: the offsets in its index of further ones ("MPF") are often stale in edited
files. Metadata that cannot be read refuse no image.
"""

import warnings
from contextlib import suppress
from importlib import import_module

from PIL import AvifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from filestored.images.decoder.optional_formats import OPTIONAL_FORMATS

FORMATS = ["BMP", "GIF", "JPEG", "PNG", "PPM", "SGI", "SUN", "TIFF", "XBM"]
"""Accepted formats, by Pillow's names; `prepare` adds AVIF, HEIF and WEBP if they can be decoded."""

ORIENTATION = 0x0112
"""The tag of the orientation in Exif."""

_PLUGINS = ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "Sgi", "Sun", "Tiff", "WebP", "Xbm")


def prepare(max_pixels: int) -> None:
    """Import all plugins and set limits. A confined decoder cannot import."""
    for plugin in _PLUGINS:
        import_module(f"PIL.{plugin}ImagePlugin")
    Image.MAX_IMAGE_PIXELS = max_pixels  # a warning from here on, an error beyond twice as many
    warnings.simplefilter("ignore")
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a thread for each core exceeds the memory limit
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # texts of 1 MiB and more are metadata too
    Image.register_open("JPEG", JpegImagePlugin.JpegImageFile, lambda head: head.startswith(b"\xff\xd8\xff"))
    _, is_avif = Image.OPEN["AVIF"]
    Image.register_open("AVIF", _AvifImageFile, is_avif)
    optional = {"AVIF": AvifImagePlugin.SUPPORTED, "WEBP": WebPImagePlugin.SUPPORTED, "HEIF": _prepare_heif()}
    FORMATS.extend(name for name, usable in optional.items() if usable and name not in FORMATS)


def _prepare_heif() -> bool:
    """Register HEIC, whose tiles are decoded one after the other; return whether that succeeds."""
    with suppress(Exception):  # a package that is broken raises anything
        heif = import_module("pillow_heif")
        heif.register_heif_opener(decode_threads=0, thumbnails=False, depth_images=False, aux_images=False)
        return True
    return False


def is_supported(media_type: str | None) -> bool:
    """Return whether `prepare` has found a decoder for this type; True for a type that is not optional."""
    return media_type not in OPTIONAL_FORMATS or OPTIONAL_FORMATS[media_type].pillow_name in FORMATS


class _AvifImageFile(AvifImagePlugin.AvifImageFile):
    """An AVIF whose Exif may be broken; the file itself holds the orientation."""

    def _open(self) -> None:
        try:
            super()._open()
        except Exception:
            if not self.mode:
                raise
            exif = Image.Exif()
            exif[ORIENTATION] = self._decoder.get_info()[5]
            self.info["exif"] = exif.tobytes()
            self.seek(0)
