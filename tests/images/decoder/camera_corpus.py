"""Corpus of images as cameras, phones and editors write them, and of damaged ones."""

import struct
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

from PIL import Image

from tests.images.decodable_images import CAMERA, ORIENTATION, PICTURE, SAMPLES, TURNED, encode, samsung

Make = Callable[[], bytes]
WIDE = Image.new("RGB", (200, 100), "teal")
NOISE = Image.effect_noise((400, 300), 80)
MP4 = struct.pack(">I4s8s", 16, b"ftyp", b"mp42isom") + struct.pack(">I4s", 5008, b"mdat") + bytes(5000)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(bits: int, colour: int, rows: bytes, *chunks: bytes, size: tuple[int, int] = (2, 2)) -> bytes:
    """A PNG of raw rows; `chunks` stand before the pixels."""
    head = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def tiff(samples: int, photometric: int, data: bytes, extra: int | None = None, bits: int = 8) -> bytes:
    """A little-endian TIFF of 2 x 2 pixels; `extra` is the meaning of its last sample."""
    tags = [(256, 4, 2), (257, 4, 2), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0)]
    tags += [(277, 3, samples), (278, 4, 2), (279, 4, len(data))]
    tags += [(338, 3, extra)] if extra is not None else []
    at = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, kind, number in tags:
        count, text = 1, struct.pack("<I", at + 8 if tag == 273 else number)
        if tag == 258:
            count, text = samples, struct.pack("<HH", bits, bits) if samples <= 2 else struct.pack("<I", at)
        entries += struct.pack("<HHI", tag, kind, count) + text
    directory = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return directory + struct.pack("<4H", *[bits] * 4) + data


def damaged(data: bytes, kind: bytes) -> bytes:
    """A PNG in which the checksum of a chunk is wrong."""
    at = data.index(kind)
    end = at + 4 + struct.unpack(">I", data[at - 4 : at])[0]
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


def with_exif(kind: str, exif: bytes) -> bytes:
    """An image with these bytes as its Exif, valid or not."""
    if kind == "AVIF":  # Pillow writes none that it cannot read
        valid = Image.Exif()
        valid[ORIENTATION] = 6
        data = valid.tobytes()[6:]
        return encode(WIDE, kind, exif=valid).replace(data, exif[6:].ljust(len(data), b"\xff")[: len(data)])
    return encode(WIDE, kind, exif=exif if kind in ("JPEG", "WEBP") else exif[6:])


def oriented(kind: str, orientation: int) -> bytes:
    if kind == "TIFF":
        return encode(WIDE, kind, tiffinfo={ORIENTATION: orientation})
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(WIDE, kind, exif=exif)


def heic(*more: Image.Image, **settings: Any) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return encode(WIDE, "HEIF", save_all=True, append_images=list(more), **settings)


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def in_jpeg(*segments: bytes, image: Image.Image = WIDE) -> bytes:
    """A JPEG with these segments behind its first marker."""
    data = encode(image, "JPEG")
    return data[:2] + b"".join(segments) + data[2:]


GAIN_MAP = b'http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version="1.0" Container:Directory=""/>'
MPF = b"MPF\0II*\0\x08\0\0\0\x03\0" + struct.pack("<HHI4s", 0xB000, 7, 4, b"0100")
MPF += struct.pack("<HHII", 0xB001, 4, 1, 2) + struct.pack("<HHII", 0xB002, 7, 32, 50) + bytes(4)
MPF += struct.pack("<IIIHH", 0x30000, 4000, 0, 0, 0) + struct.pack("<IIIHH", 0, 999, 99999, 0, 0)
MAKER_NOTE = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 26) + bytes(4)
MAKER_NOTE += b"\x01\0" + struct.pack("<HHII", 0x927C, 7, 90000, 44) + bytes(4) + b"Nikon\0\x02\x10" * 8
BROKEN_EXIF = {
    "nothing": b"Exif\0\0",
    "text": b"Exif\0\0junkjunkjunkjunk",
    "no directory": b"Exif\0\0MM\0*\xff\xff\xff\xff",
    "endless": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff" * 4,
    "orientation as text": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0006\0\0\0",
    "orientation as a ratio": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\x01\0\0\0\0\0\0\0",
}
GREY_16 = b"".join(b"\0" + struct.pack(">HH", 1000, 40000) for _ in range(2))

ACCEPTED: dict[str, tuple[Make, tuple[int, int]]] = {
    **{name: (lambda data=data: data, (64, 40)) for name, data in CAMERA.items()},
    "gain map behind the image": (
        lambda: in_jpeg(segment(0xE1, GAIN_MAP), segment(0xE2, MPF)) + encode(WIDE.convert("L"), "JPEG"),
        (64, 32),
    ),
    "stale index of images": (lambda: in_jpeg(segment(0xE2, MPF)), (64, 32)),
    "broken index of images": (lambda: in_jpeg(segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff")), (64, 32)),
    "maker note beyond its segment": (lambda: in_jpeg(segment(0xE1, MAKER_NOTE)), (64, 32)),
    "motion photo": (lambda: in_jpeg() + MP4, (64, 32)),
    "motion photo of Samsung": (lambda: samsung(b"\0\0MotionPhoto_Data" + MP4, image=in_jpeg()), (64, 32)),
    "HEIC motion photo": (lambda: heic() + struct.pack(">I4s", 5008, b"mpvd") + bytes(5000), (64, 32)),
    "JPEG and zeros": (lambda: in_jpeg() + bytes(70000), (64, 32)),
    "GIF without a trailer": (lambda: SAMPLES["gif animated"].removesuffix(b";"), (64, 40)),
    "PNG and a line feed": (lambda: SAMPLES["png"] + b"\n", (64, 40)),
    "PNG without an end": (lambda: SAMPLES["png"][:-12], (64, 40)),
    "PNG with 3 MiB of text": (
        lambda: png(8, 0, b"\0ab" * 2, chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(3 << 20)))),
        (2, 2),
    ),
    "HEIC": (heic, (64, 32)),
    "HEIC of two images": (lambda: heic(TURNED), (64, 32)),
    "HEIC of 10 bits": (lambda: heic(bit_depth=10), (64, 32)),
    "JPEG in CMYK": (lambda: encode(WIDE.convert("CMYK"), "JPEG"), (64, 32)),
    "TIFF in CMYK": (lambda: encode(WIDE.convert("CMYK"), "TIFF"), (64, 32)),
    "TIFF in YCbCr": (lambda: encode(WIDE.convert("YCbCr"), "TIFF"), (64, 32)),
    "TIFF in LAB": (lambda: encode(Image.new("LAB", (200, 100)), "TIFF"), (64, 32)),
    "TIFF of floats": (lambda: encode(WIDE.convert("F"), "TIFF"), (64, 32)),
    "TIFF of 32 bits": (lambda: encode(WIDE.convert("I"), "TIFF"), (64, 32)),
    "TIFF of 16 bits": (lambda: encode(WIDE.convert("I;16"), "TIFF"), (64, 32)),
    "TIFF of 1 bit": (lambda: encode(WIDE.convert("1"), "TIFF", compression="group4"), (64, 32)),
    "TIFF with a palette and alpha": (lambda: encode(Image.new("PA", (200, 100)), "TIFF"), (64, 32)),
    "TIFF in grey with associated alpha": (lambda: tiff(2, 1, bytes([50, 100] * 4), extra=1), (2, 2)),
    "TIFF in RGB with associated alpha": (lambda: tiff(4, 2, bytes([50, 50, 50, 100] * 4), extra=1), (2, 2)),
    "PNG of 16 bits": (lambda: png(16, 0, GREY_16), (2, 2)),
    "PNG of 1 bit": (lambda: encode(WIDE.convert("1"), "PNG"), (64, 32)),
    "PNG of RGBA in 16 bits": (lambda: png(16, 6, (b"\0" + bytes(16)) * 2), (2, 2)),
    "PNG with a short palette": (lambda: png(8, 3, b"\0\1\2" * 2, chunk(b"PLTE", bytes(6))), (2, 2)),
    "very wide": (lambda: encode(Image.new("L", (70_000, 2)), "PNG"), (64, 1)),
    **{
        f"{kind} with orientation {number}": (partial(oriented, kind, number), (64, 32))
        for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
        for number in (0, 9, 255, 65535)
    },
    **{
        f"{kind} lying": (partial(oriented, kind, 6), (64, 128))
        for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
    },
    **{
        f"{kind} with broken Exif: {name}": (
            partial(with_exif, kind, exif),
            (64, 128) if kind == "AVIF" else (64, 32),  # the AVIF itself says that it lies
        )
        for kind in ("JPEG", "PNG", "WEBP", "AVIF")
        for name, exif in BROKEN_EXIF.items()
    },
}
"""Functions that make accepted images, with the size of their thumbnail of `width=64`."""

REFUSED: dict[str, Make] = {
    "half a JPEG": lambda: (data := encode(NOISE, "JPEG"))[: len(data) // 2],
    "JPEG that was cut and filled with zeros": lambda: (
        (data := encode(NOISE, "JPEG"))[: len(data) // 2] + bytes(len(data))
    ),
    "small JPEG that was cut and filled with zeros": lambda: (
        (data := encode(NOISE.resize((30, 20)), "JPEG"))[: data.index(b"\xff\xda") + 30] + bytes(1000)
    ),
    "half a GIF": lambda: (data := encode(NOISE, "GIF"))[: len(data) // 2],
    "half a HEIC": lambda: (data := heic())[: len(data) - 40],
    "half a WebP": lambda: (data := encode(NOISE, "WEBP"))[: len(data) // 2],
    "half a TIFF": lambda: (data := encode(NOISE, "TIFF"))[: len(data) // 2],
    "palette PNG without a palette": lambda: png(8, 3, b"\0\1\2" * 2),
    "PNG with a wrong checksum of its pixels": lambda: damaged(encode(PICTURE, "PNG"), b"IDAT"),
    "PNG with a wrong checksum of its head": lambda: damaged(encode(PICTURE, "PNG"), b"IHDR"),
    "PNG with a wrong checksum of its palette": lambda: damaged(SAMPLES["png with palette"], b"PLTE"),
    "PNG with a wrong checksum of its end": lambda: damaged(encode(PICTURE, "PNG"), b"IEND"),
    "PNG with a wrong checksum of a frame": lambda: damaged(SAMPLES["png animated"], b"fdAT"),
}
"""Functions that make images that are damaged."""


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(BytesIO(data)).size
