"""Media types by file signature, and bytes that only resemble one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.images.signatures import SNIFF_BYTES, sniff_media_type


def box(*brands):
    return struct.pack(">I4s4sI", 16 + 4 * len(brands[1:]), b"ftyp", brands[0], 0) + b"".join(brands[1:])


IMAGES = {
    "rgb": (b"\x01\xda\x01\x01\x00\x03\x00\x10\x00\x10", "image/x-sgi"),
    "rgb, not packed": (b"\x01\xda\x00\x02\x00\x02", "image/x-sgi"),
    "gif 87": (b"GIF87a\x01\x00\x01\x00", "image/gif"),
    "gif 89": (b"GIF89a\x01\x00\x01\x00", "image/gif"),
    "pbm": (b"P1\n2 2\n", "image/x-portable-bitmap"),
    "pbm, binary": (b"P4 2 2\n", "image/x-portable-bitmap"),
    "pgm": (b"P2\t2 2\n", "image/x-portable-graymap"),
    "pgm, binary": (b"P5\n# made by hand\n2 2", "image/x-portable-graymap"),
    "ppm": (b"P3\r2 2\n", "image/x-portable-pixmap"),
    "ppm, binary": (b"P6\n2 2\n255\n", "image/x-portable-pixmap"),
    "ppm, a comment at once": (b"P6#x\n2 2\n", "image/x-portable-pixmap"),
    "tiff, little end first": (b"II*\x00\x08\x00\x00\x00", "image/tiff"),
    "tiff, big end first": (b"MM\x00*\x00\x00\x00\x08", "image/tiff"),
    "bigtiff": (b"II+\x00\x08\x00\x00\x00", "image/tiff"),
    "rast": (b"\x59\xa6\x6a\x95\x00\x00", "image/x-sun-raster"),
    "xbm": (b"#define cat_width 16\n", "image/x-xbitmap"),
    "jpeg, jfif": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg"),
    "jpeg, exif": (b"\xff\xd8\xff\xe1\x00\x10Exif\x00", "image/jpeg"),
    "jpeg, neither": (b"\xff\xd8\xff\xdb\x00\x43", "image/jpeg"),
    "bmp": (b"BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00", "image/bmp"),
    "png": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
    "webp": (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
    "webp, a line break in its size": (b"RIFF\n\n\n\nWEBPVP8 ", "image/webp"),
    "exr": (b"\x76\x2f\x31\x01\x02\x00\x00\x00", "image/x-exr"),
    "avif": (box(b"avif", b"avif", b"mif1"), "image/avif"),
    "avif, by a later brand": (box(b"mif1", b"mif1", b"avif"), "image/avif"),
    "heic": (box(b"heic", b"mif1"), "image/heic"),
    "heic, by a later brand": (box(b"mif1", b"mif1", b"heic"), "image/heic"),
}

NO_IMAGES = {
    "nothing": b"",
    "text": b"hello",
    "text that begins with BM": b"BMW builds motor cars, and this is a text about them",
    "text that begins with II": b"II. The second chapter",
    "text that begins with P1": b"P1: urgent",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "svg with a prologue": b'<?xml version="1.0"?><svg/>',
    "html": b"<!doctype html>",
    "pdf": b"%PDF-1.7",
    "gzip": b"\x1f\x8b\x08\x00",
    "zip": b"PK\x03\x04",
    "elf": b"\x7fELF\x01\x01",
    "wave": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "mp4": box(b"isom", b"isom", b"mp42"),
    "a brand behind the box": box(b"isom") + b"avifavif",
    "gif 88": b"GIF88a",
    "two bytes of rgb": b"\x01\xda",
    "a space before a png": b" \x89PNG\r\n\x1a\n",
}


@pytest.mark.parametrize(("head", "kind"), IMAGES.values(), ids=IMAGES)
def test_signature_gives_the_media_type(head, kind):
    assert kind == sniff_media_type(head)
    assert kind == sniff_media_type((head + b"\0" * SNIFF_BYTES)[:SNIFF_BYTES])


@pytest.mark.parametrize("head", NO_IMAGES.values(), ids=NO_IMAGES)
def test_text_that_resembles_a_signature_is_no_image(head):
    assert sniff_media_type(head) is None


@pytest.mark.parametrize(("head", "kind"), IMAGES.values(), ids=IMAGES)
def test_longer_head_never_changes_the_media_type(head, kind):
    said = [sniff_media_type(head[:length]) for length in range(len(head) + 1)]
    first = said.index(kind)
    assert {None} == set(said[:first]) | {None}
    assert {kind} == set(said[first:])


@given(st.binary(max_size=SNIFF_BYTES))
def test_any_bytes_have_a_known_media_type_or_none(head):
    kind = sniff_media_type(head)
    assert kind is None or kind.startswith("image/")
