"""Limits on the pixels, frames and memory of an image, by its header.

A JPEG is decoded at a reduced size, so it may have twice as many pixels as a frame of another format. So may
all frames of an animation together. Decoders that take much memory for each pixel are refused by a forecast:
their own errors look like those of broken files.
"""

from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageFile, JpegImagePlugin

MAX_FRAMES = 1000
"""Maximum number of frames of an animation, or pages of a TIFF."""

_PIXEL_BYTES = {"WEBP": 16, "AVIF": 10, "HEIF": 10}
"""Memory of a decoder for each pixel in bytes, rounded up.

Measured as growth of the address space at 50 million pixels: AVIF 9.2, HEIC 7.8, and 8.9 with transparency.
"""

_TRANSPARENT_AVIF_BYTES = 12
"""The same for an AVIF with transparency; measured: 11.7."""


class TooManyPixels(Exception):
    """The image has too many frames, or too many pixels."""


class TooMuchMemory(Exception):
    """The image takes more memory than the process may use."""


TOO_LARGE = (TooManyPixels, Image.DecompressionBombError)
"""Errors of images with too many pixels or frames."""


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """Maximum of `pixels` of a frame, and of `memory` in bytes."""

    pixels: int
    memory: int

    @property
    def total(self) -> int:
        """Maximum number of pixels of all frames together, and of a JPEG."""
        return 2 * self.pixels

    def check_webp(self, file: BinaryIO) -> None:
        """Check the canvas of a WebP, whose decoder reserves memory as it opens the file."""
        head = file.read(30)
        file.seek(0)
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            width, height = _webp_size(head)
            self._check("WEBP", width * height, self.pixels)

    def check_open(self, image: ImageFile.ImageFile) -> None:
        """Check an image before it is decoded. Raises `TooManyPixels` or `TooMuchMemory`."""
        pixels = image.width * image.height
        self._check(image.format or "", pixels, self.total if image.format == "JPEG" else self.pixels)
        if image.format == "AVIF" and image.mode == "RGBA":
            self._check_memory(pixels * _TRANSPARENT_AVIF_BYTES)
        if isinstance(image, JpegImagePlugin.JpegImageFile) and image.info.get("progressive"):
            self._check_memory(pixels * _coefficient_bytes(image))

    def check_frames(self, image: ImageFile.ImageFile, frames: int) -> None:
        """Check the number of frames, and their pixels by the headers, before any is decoded."""
        if frames > MAX_FRAMES or _header_pixels(image, frames, self.pixels) > self.total:
            raise TooManyPixels

    def _check(self, kind: str, pixels: int, limit: int) -> None:
        if pixels > limit:
            raise TooManyPixels
        self._check_memory(pixels * _PIXEL_BYTES.get(kind, 0))

    def _check_memory(self, size: int) -> None:
        if size > self.memory:
            raise TooMuchMemory


def _webp_size(head: bytes) -> tuple[int, int]:
    """Return width and height of a WebP (RFC 9649, sections 2.5 to 2.7)."""
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        sides = int.from_bytes(head[21:25], "little")
        return sides % 2**14 + 1, (sides >> 14) % 2**14 + 1
    return int.from_bytes(head[26:28], "little") % 2**14, int.from_bytes(head[28:30], "little") % 2**14


def _coefficient_bytes(image: JpegImagePlugin.JpegImageFile) -> int:
    """Return the bytes of coefficients that a progressive JPEG holds for each pixel: 2 for each sample."""
    factors = [(layer[1], layer[2]) for layer in image.layer]
    largest = max(across for across, _ in factors) * max(down for _, down in factors)
    return -(-2 * sum(across * down for across, down in factors) // largest)


def _header_pixels(image: ImageFile.ImageFile, frames: int, max_pixels: int) -> int:
    """Return the pixels of all frames by the headers; frames of an animation count as the first one."""
    if image.format != "TIFF":
        return image.width * image.height * frames
    total = 0
    for page in range(frames):
        image.seek(page)
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise TooManyPixels
        total += pixels
    return total
