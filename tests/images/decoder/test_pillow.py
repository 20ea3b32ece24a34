"""Decoding and thumbnails with Pillow, in the process of the test."""

import tempfile
from io import BytesIO

import pytest
from PIL import GifImagePlugin, Image, ImageCms, PngImagePlugin, TiffImagePlugin

from filestored.images.decoder import pillow
from filestored.images.decoder.pixel_limits import MAX_FRAMES, PixelLimits, TooManyPixels, TooMuchMemory
from filestored.images.decoder.plugins import prepare
from filestored.settings import MAX_PIXELS
from tests.images.decodable_images import (
    CAMERA,
    HALF_A_JPEG,
    PICTURE,
    SAMPLES,
    SCRIPT,
    SVG,
    ZIP,
    encode,
    four_corners,
    laborious_gif,
    png_of,
)

prepare(MAX_PIXELS)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of files that are refused anyway

LIMITS = PixelLimits(MAX_PIXELS, 2**30)
FEW_PIXELS = PixelLimits(10_000, 2**30)

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
PNG_SUMS_AND_END_BYTES = 4 + 4 + len(PNG_END)  # two checksums of the last data chunk


def in_a_file(data):
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller is one
    file.write(data)
    file.seek(0)
    return file


def is_image(data: bytes, limits: PixelLimits = LIMITS) -> bool:
    with in_a_file(data) as file:
        try:
            pillow.verify(file, limits)
        except Exception:  # whatever a decoder raises
            return False
        return True


def make(data: bytes, width: int = 2048, height: int = 2048) -> Image.Image:
    with in_a_file(data) as file:
        media_type, made = pillow.thumbnail(file, width, height, LIMITS)
    image = Image.open(BytesIO(made))
    assert media_type == f"image/{image.format.lower()}"
    return image


def near(color, expected) -> bool:
    return all(abs(one - other) < 40 for one, other in zip(color, expected, strict=True))


# --- verify ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_accepted(name):
    assert is_image(SAMPLES[name])


@pytest.mark.parametrize("name", CAMERA)
def test_jpeg_with_a_camera_trailer_is_accepted(name):
    assert is_image(CAMERA[name])


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", SAMPLES)
def test_truncated_image_is_refused(name, part):
    data = SAMPLES[name]
    end = len(data) - PNG_SUMS_AND_END_BYTES if name.startswith("png") else len(data)
    assert not is_image(data[: int(end * part) - 3])


@pytest.mark.parametrize("data", [SAMPLES["png"].removesuffix(PNG_END), SAMPLES["gif"].removesuffix(b";")])
def test_image_without_its_end_marker_is_accepted_when_all_pixels_decode(data):
    assert data not in SAMPLES.values()
    assert is_image(data)


@pytest.mark.parametrize(
    "trailer", [SCRIPT, ZIP, b"\n", bytes(5000)], ids=["script", "ZIP", "line feed", "zeros"]
)
@pytest.mark.parametrize(
    "name", [name for name in SAMPLES if name != "ppm plain"]
)  # decimal numbers to the end
def test_bytes_behind_an_image_are_ignored(name, trailer):
    assert is_image(SAMPLES[name] + trailer)


def test_pixel_limit_holds_for_an_image_with_a_trailer():
    with in_a_file(laborious_gif(100, 3) + SCRIPT) as file, pytest.raises(TooManyPixels):
        pillow.verify(file, FEW_PIXELS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        HALF_A_JPEG,
        SVG,
        b"\x76\x2f\x31\x01" + bytes(100),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        SAMPLES["png"][:-20] + b"\0" * 8 + SAMPLES["png"][-12:],
    ],
    ids=[
        "nothing",
        "six bytes",
        "half",
        "SVG",
        "EXR",
        "PostScript",
        "PNG with a hole",
    ],
)
def test_invalid_image_is_refused(data):
    assert not is_image(data)


@pytest.mark.parametrize("side", [10_001, 20_000, 60_000])
def test_decompression_bomb_is_refused(side):
    assert not is_image(png_of(side, 10_000))


def test_too_many_frames_are_refused():
    assert is_image(laborious_gif(8, MAX_FRAMES))
    assert not is_image(laborious_gif(8, MAX_FRAMES + 1))


def tiff_of_pages(*sides: int) -> bytes:
    first, *more = (Image.new("1", (side, side)) for side in sides)
    return encode(first, "TIFF", compression="group4", save_all=True, append_images=more)


def growing_gif(*sides: int) -> bytes:
    """A GIF whose canvas is 8 pixels wide and high, and whose frames are larger."""
    frames = [encode(Image.new("L", (side, side)), "GIF") for side in (8, *sides)]
    start = 13 + 3 * 2 ** ((frames[0][10] & 7) + 1)
    return frames[0][:-1] + b"".join(frame[start:-1] for frame in frames[1:]) + b";"


def png_of_frames(side: int, count: int) -> bytes:
    frames = [Image.new("L", (side, side), shade) for shade in range(count)]
    return encode(frames[0], "PNG", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    "data",
    [laborious_gif(100, 3), tiff_of_pages(8, 100, 100), growing_gif(100, 100), png_of_frames(100, 3)],
    ids=["GIF", "TIFF", "GIF with growing frames", "PNG"],
)
def test_too_many_pixels_in_all_frames_are_refused(data):
    with in_a_file(data) as file, pytest.raises(TooManyPixels):
        pillow.verify(file, FEW_PIXELS)


@pytest.mark.parametrize(
    "data",
    [laborious_gif(100, 2), tiff_of_pages(99, 8, 99), growing_gif(99, 50), png_of_frames(100, 2)],
    ids=["GIF", "TIFF", "GIF with growing frames", "PNG"],
)
def test_maximum_number_of_pixels_is_accepted(data):
    assert is_image(data, FEW_PIXELS)


@pytest.mark.parametrize(
    ("plugin", "data"),
    [
        (TiffImagePlugin.TiffImageFile, tiff_of_pages(8, 100, 100)),
        (GifImagePlugin.GifImageFile, laborious_gif(100, 3)),
        (PngImagePlugin.PngImageFile, png_of_frames(100, 3)),
    ],
)
def test_pixels_of_all_frames_are_counted_before_decoding(monkeypatch, plugin, data):
    def fail(image):
        raise AssertionError("decoded")

    monkeypatch.setattr(plugin, "load", fail)
    with in_a_file(data) as file, pytest.raises(TooManyPixels):
        pillow.verify(file, FEW_PIXELS)


def test_broken_frame_of_an_animation_is_refused():
    data = bytearray(SAMPLES["png animated"])
    at = data.rindex(b"fdAT") + 12
    data[at : at + 4] = b"\xff\xff\xff\xff"
    assert not is_image(bytes(data))


# --- thumbnails ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_has_a_thumbnail(name):
    assert max(make(SAMPLES[name], 30, 30).size) == min(30, max(Image.open(BytesIO(SAMPLES[name])).size))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((2048, 2048), (97, 61)),
        ((97, 61), (97, 61)),
        ((50, 2048), (50, 31)),
        ((2048, 30), (48, 30)),
        ((50, 50), (50, 31)),
        ((50, 10), (16, 10)),
        ((1, 1), (1, 1)),
    ],
)
def test_thumbnail_fits_keeps_its_proportions_and_is_never_enlarged(box, expected):
    assert make(SAMPLES["png"], *box).size == expected


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [((4000, 10), (100, 100), (100, 1)), ((3, 9000), (20, 30), (1, 30)), ((1001, 777), (64, 64), (64, 50))],
)
def test_thumbnail_of_a_much_larger_image_keeps_its_proportions(size, box, expected):
    assert make(encode(Image.new("RGB", size, RED), "PNG"), *box).size == expected


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "I", "RGB", "RGBA", "LA"])
def test_white_stays_white_in_every_mode(mode):
    white = {"I;16": 65535, "I": 65535, "P": 1, "LA": (255, 255), "RGBA": (255,) * 4}
    image = Image.new(mode, (900, 700), white.get(mode, "white"))
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
    small = make(encode(image, "TIFF" if mode == "I" else "PNG"), 20, 20).convert("RGB")
    assert small.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (SAMPLES["png"], "JPEG"),
        (SAMPLES["jpeg in cmyk"], "JPEG"),
        (SAMPLES["png with alpha"], "WEBP"),
        (encode(PICTURE.convert("P"), "PNG", transparency=0), "WEBP"),
        (encode(PICTURE, "PNG", transparency=(1, 2, 3)), "WEBP"),
    ],
)
def test_thumbnail_with_transparency_is_webp(data, expected):
    assert make(data, 40, 40).format == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_thumbnail_is_upright(kind, orientation):
    small = make(four_corners(orientation, kind), 30, 2048)
    assert small.size == (30, 20)
    corners = [small.convert("RGB").getpixel(point) for point in ((4, 4), (25, 4), (4, 15), (25, 15))]
    assert [near(*pair) for pair in zip(corners, (RED, BLUE, WHITE, WHITE), strict=True)] == [True] * 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_invalid_orientation_is_upright(orientation):
    assert make(four_corners(orientation, "JPEG")).size == (60, 40)


def test_height_bounds_the_upright_image():
    assert make(four_corners(6, "JPEG"), 2048, 20).size == (30, 20)


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA")])
def test_thumbnail_has_no_metadata(kind, mode):
    exif = Image.Exif()
    exif[0x010E] = "SECRET"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    settings = {"comment": b"SECRET"} if kind == "JPEG" else {}
    data = encode(PICTURE.convert(mode), kind, exif=exif, icc_profile=profile, xmp=b"SECRET", **settings)
    small = make(data, 40, 40)
    assert not {"exif", "icc_profile", "comment", "xmp"} & set(small.info)
    assert dict(small.getexif()) == {}


def test_colours_of_a_profile_are_converted_to_srgb():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    broken = encode(PICTURE, "PNG", icc_profile=profile.tobytes())
    plain = encode(PICTURE, "PNG")
    assert make(broken, 20, 20).tobytes() == make(plain, 20, 20).tobytes()
    nonsense = encode(PICTURE, "PNG", icc_profile=b"nonsense")
    assert make(nonsense, 20, 20).tobytes() == make(plain, 20, 20).tobytes()


@pytest.mark.parametrize(("mode", "accepted"), [("RGB", True), ("RGBA", False)])
def test_avif_with_transparency_counts_as_12_bytes_a_pixel(mode, accepted):
    picture = PICTURE.convert("RGB")
    if mode == "RGBA":
        picture.putalpha(128)
    file = BytesIO(encode(picture, "AVIF"))
    limits = PixelLimits(MAX_PIXELS, 11 * PICTURE.width * PICTURE.height)
    with Image.open(file) as found:
        if accepted:
            assert None is limits.check_open(found)
        else:
            with pytest.raises(TooMuchMemory):
                limits.check_open(found)
