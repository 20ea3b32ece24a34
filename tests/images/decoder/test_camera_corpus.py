"""Images of cameras and phones, through the real decoder process: accepted with a thumbnail, or refused."""

import struct
from io import BytesIO

import pytest
import pytest_twisted
from PIL import Image

from filestored.errors import DecodingTooCostly, NotAnImage, TooManyPixels
from filestored.images.decoder.optional_formats import is_installed
from filestored.images.decoder.resource_limits import ResourceLimits
from filestored.images.signatures import sniff_media_type
from filestored.images.thumbnails.thumbnails import thumbnail_bounds
from tests.images.decodable_images import encode, png_of
from tests.images.decoder.camera_corpus import ACCEPTED, GREY_16, REFUSED, chunk, heic, png, size_of
from tests.images.decoder.decoder_processes import outcome

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest_twisted.ensureDeferred
async def test_every_image_of_the_corpus_is_accepted_and_has_a_thumbnail(decoder_pool, blob_of):
    found = {}
    for name, (make, _) in ACCEPTED.items():
        data = make()
        assert sniff_media_type(data[:64]) is not None, name
        blob = await blob_of(data)
        found[name] = await outcome(decoder_pool.verify(blob, "anna"))
        if found[name] is None:
            made = await decoder_pool.thumbnail(blob, thumbnail_bounds(64, None), "anna")
            found[name] = size_of(made.data)
        blob.close()
    assert found == {name: size for name, (_, size) in ACCEPTED.items()}


@pytest_twisted.ensureDeferred
async def test_every_damaged_image_of_the_corpus_is_refused(decoder_pool, blob_of):
    found = {}
    for name, make in REFUSED.items():
        found[name] = await outcome(decoder_pool.verify(await blob_of(make()), "anna"))
    assert found == dict.fromkeys(REFUSED, NotAnImage)


# --- limits ----------------------------------------------------------------------------------


def large_jpeg(width, height, **settings):
    return encode(Image.new("L", (width, height), 90), "JPEG", **settings)


@pytest_twisted.ensureDeferred
async def test_jpeg_of_108_million_pixels_is_accepted_and_has_a_thumbnail(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(limits=ResourceLimits(memory=150 * 2**20))
    blob = await blob_of(large_jpeg(12_000, 9_000))
    assert await outcome(decoder_pool.verify(blob, "anna")) is None
    made = await decoder_pool.thumbnail(blob, thumbnail_bounds(64, None), "anna")
    assert size_of(made.data) == (64, 48)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_progressive_jpeg_of_108_million_pixels_is_accepted(decoder_pool, blob_of):
    data = encode(Image.new("RGB", (12_000, 9_000), "teal"), "JPEG", progressive=True)
    assert await outcome(decoder_pool.verify(await blob_of(data), "anna")) is None


@pytest_twisted.ensureDeferred
async def test_limits_grow_with_the_pixels(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(limits=ResourceLimits.for_pixels(10_000))
    answers = [
        await outcome(decoder_pool.verify(await blob_of(data), "anna"))
        for data in (
            png_of(100, 100),
            png_of(101, 100),
            large_jpeg(200, 100),
            large_jpeg(201, 100),
            large_jpeg(250, 100),
        )
    ]
    assert answers == [None, TooManyPixels, None, TooManyPixels, TooManyPixels]


@pytest_twisted.ensureDeferred
async def test_error_of_too_many_pixels_names_the_limits(make_decoder_pool, blob_of):
    decoder_pool = make_decoder_pool(limits=ResourceLimits.for_pixels(10_000))
    with pytest.raises(TooManyPixels, match=r"1,000 frames, of 10,000 pixels each and 20,000 pixels in all"):
        await decoder_pool.verify(await blob_of(png_of(101, 100)), "anna")


def webp_head(width, height):
    """A WebP that ends behind its canvas."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + sides + bytes(8)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (webp_head(10_000, 9_000), DecodingTooCostly),
        (webp_head(10_001, 10_000), TooManyPixels),
        (large_jpeg(10_000, 9_000, progressive=True)[:2000], DecodingTooCostly),
    ],
    ids=["WebP", "WebP of too many pixels", "progressive JPEG"],
)
@pytest_twisted.ensureDeferred
async def test_image_that_takes_too_much_memory_is_refused_by_its_head(
    make_decoder_pool, blob_of, data, expected
):
    decoder_pool = make_decoder_pool(limits=ResourceLimits(memory=170_000_000))
    assert await outcome(decoder_pool.verify(await blob_of(data), "anna")) is expected


def test_memory_and_time_grow_with_the_maximum_of_pixels():
    assert ResourceLimits.for_pixels(5) == ResourceLimits(2**30, 10, 5)
    assert ResourceLimits.for_pixels(250_000_000) == ResourceLimits(5 * 2**29, 25, 250_000_000)


# --- formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media_type", "module", "words"),
    [
        ("image/heic", "pillow_heif", r"HEIC .*pip install '.\[heic\]'"),
        ("image/avif", "PIL._avif", "AVIF"),
        ("image/x-exr", None, "OpenEXR"),
    ],
)
def test_format_without_a_decoder_is_refused_by_its_name(
    make_decoder_pool, monkeypatch, media_type, module, words
):
    monkeypatch.setattr(
        "filestored.images.decoder.optional_formats.is_installed", lambda name: name != module
    )
    decoder_pool = make_decoder_pool()
    decoder_pool.check_format("image/png")
    with pytest.raises(NotAnImage, match=words):
        decoder_pool.check_format(media_type)


def test_check_of_a_format_searches_no_modules(decoder_pool, monkeypatch):
    def is_installed(name):
        raise AssertionError("it reads directories in the reactor's thread")

    monkeypatch.setattr("importlib.util.find_spec", is_installed)
    monkeypatch.setattr("filestored.images.decoder.optional_formats.is_installed", is_installed)
    assert None is decoder_pool.check_format("image/heic")


@pytest.mark.parametrize("error", ["ImportError", "OSError", "AttributeError"])
@pytest_twisted.ensureDeferred
async def test_heic_is_named_where_the_installed_decoder_is_broken(
    make_decoder_pool, blob_of, monkeypatch, tmp_path, error
):
    (tmp_path / "pillow_heif.py").write_text(f"raise {error}('a library is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    decoder_pool = make_decoder_pool()
    decoder_pool.check_format("image/heic")
    for data in (heic(), heic()):
        with pytest.raises(NotAnImage, match=r"HEIC .*pip install '.\[heic\]'"):
            await decoder_pool.verify(await blob_of(data), "anna")
    assert None is await decoder_pool.verify(await blob_of(png_of(2, 2)), "anna")


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("PIL._avif", True),
        ("pillow_heif", True),
        ("PIL._none", False),
        ("no_such", False),
        ("no_such.x", False),
    ],
)
def test_installed_modules_are_found(module, expected):
    assert expected is is_installed(module)


def test_format_with_a_decoder_passes(decoder_pool):
    assert [decoder_pool.check_format(f"image/{kind}") for kind in ("heic", "avif", "webp")] == [None] * 3


# --- transparency and colours ----------------------------------------------------------------


def rows(*pixels):
    return (b"\0" + b"".join(pixels)) * 2


def short(*numbers):
    return struct.pack(f">{len(numbers)}H", *numbers)


TRANSPARENT = {
    "grey of 16 bits": png(16, 0, GREY_16, chunk(b"tRNS", short(1000))),
    "grey of 8 bits": png(8, 0, rows(b"\x09\x0a"), chunk(b"tRNS", short(9))),
    "grey of 4 bits": png(4, 0, rows(b"\x9a"), chunk(b"tRNS", short(9))),
    "grey of 2 bits": png(2, 0, rows(b"\xb0"), chunk(b"tRNS", short(2))),
    "grey of 1 bit": png(1, 0, rows(b"\x80"), chunk(b"tRNS", short(1))),
    "RGB of 16 bits": png(
        16, 2, rows(short(1000, 2000, 3000, 5, 6, 7)), chunk(b"tRNS", short(1000, 2000, 3000))
    ),
    "RGB of 8 bits": png(8, 2, rows(bytes(range(1, 7))), chunk(b"tRNS", short(1, 2, 3))),
    "palette": png(8, 3, rows(b"\0\1"), chunk(b"PLTE", bytes(range(6))), chunk(b"tRNS", b"\0\xff")),
    "palette of degrees": png(
        8, 3, rows(b"\0\1"), chunk(b"PLTE", bytes(range(6))), chunk(b"tRNS", b"\0\xfe")
    ),
    "grey and alpha of 16 bits": png(16, 4, rows(short(1000, 0, 3000, 65000))),
    "RGBA of 16 bits": png(16, 6, rows(short(1, 2, 3, 0, 1, 2, 3, 65000))),
    "GIF": encode(Image.frombytes("P", (2, 2), b"\0\1\0\1"), "GIF", transparency=0),
}


@pytest.mark.parametrize("name", TRANSPARENT)
@pytest_twisted.ensureDeferred
async def test_transparency_stays_in_the_thumbnail(decoder_pool, blob_of, name):
    made = await decoder_pool.thumbnail(await blob_of(TRANSPARENT[name]), (64, 64), "anna")
    alpha = Image.open(BytesIO(made.data)).convert("RGBA").getchannel("A")
    assert [value > 200 for value in alpha.tobytes()] == [False, True] * 2
