"""Where images end: whole, cut anywhere, and with something behind them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.images.endings import ENDINGS, nothing_follows
from filestored.images.walking import Unfinished
from tests.images.pictures import CAMERA, SAMPLES, SCRIPT, ZIP, samsung

MEDIA_TYPES = {"pgm": "PPM", "pbm": "PPM"}
ENDING = {name: data for name, data in SAMPLES.items() if not name.startswith("tiff")}
JPEG = SAMPLES["jpeg"]
VIDEO = struct.pack(">I4s8s", 16, b"ftyp", b"mp42isom")


def kind_of(name: str) -> str:
    word = name.split()[0]
    return MEDIA_TYPES.get(word, word.upper())


def is_alone(kind: str, data: bytes) -> bool:
    try:
        return nothing_follows(kind, data)
    except Unfinished:
        return False


@pytest.mark.parametrize("name", ENDING)
def test_nothing_follows_a_whole_image(name):
    assert nothing_follows(kind_of(name), SAMPLES[name])


@pytest.mark.parametrize("name", ENDING)
def test_zeros_behind_an_image_are_padding(name):
    assert nothing_follows(kind_of(name), SAMPLES[name] + bytes(5000))


@pytest.mark.parametrize("rest", [SCRIPT, ZIP, b"\0\0\0" + SCRIPT, b"x", b";", SAMPLES["gif"]])
@pytest.mark.parametrize("name", ENDING)
def test_anything_else_behind_an_image_is_found(name, rest):
    if name == "xbm" and rest == b";":
        rest = b";;"
    assert not is_alone(kind_of(name), SAMPLES[name] + rest)


@pytest.mark.parametrize("name", ENDING)
def test_every_cut_is_found_or_leaves_a_whole_image(name):
    data = SAMPLES[name]
    whole = [end for end in range(len(data)) if is_alone(kind_of(name), data[:end])]
    # Digits and boxes have an end wherever one of them ends: the decoder misses the rest.
    assert whole == [] or name in ("xbm", "ppm plain", "avif", "avif animated")


@given(data=st.binary(max_size=400), kind=st.sampled_from(sorted(ENDINGS)))
def test_garbage_is_judged_without_a_fault(data, kind):
    is_alone(kind, data)


@given(data=st.binary(max_size=200), name=st.sampled_from(sorted(ENDING)), at=st.integers(0, 2000))
def test_garbage_in_an_image_is_judged_without_a_fault(data, name, at):
    image = SAMPLES[name]
    is_alone(kind_of(name), image[:at] + data + image[at + len(data) :])


def test_a_tiff_has_no_end():
    assert nothing_follows("TIFF", SAMPLES["tiff"] + SCRIPT)


@pytest.mark.parametrize("name", CAMERA)
def test_what_cameras_put_behind_a_jpeg_may_follow(name):
    assert nothing_follows("JPEG", CAMERA[name])


@pytest.mark.parametrize("name", CAMERA)
def test_nothing_may_follow_what_cameras_put_behind_a_jpeg(name):
    assert not is_alone("JPEG", CAMERA[name] + ZIP)


@pytest.mark.parametrize(
    "trailer",
    [
        JPEG[:-1],
        JPEG[: len(JPEG) // 2],
        b"\xff\xd8\xff",
        VIDEO[:-1],
        VIDEO + struct.pack(">I4s", 7, b"free"),
        VIDEO + struct.pack(">I4s", 4000, b"mdat"),
        VIDEO + struct.pack(">I4sQ", 1, b"mdat", 2**63),
    ],
)
def test_a_trailer_of_a_camera_must_be_whole(trailer):
    assert not is_alone("JPEG", JPEG + trailer)


@pytest.mark.parametrize(
    ("blocks", "image"),
    [
        ((b"\0\0one",), JPEG),
        ((b"\0\0one", b"\0\0and a second"), JPEG),
        ((b"\0\0one",), CAMERA["preview"]),
    ],
)
def test_blocks_that_a_directory_names_may_follow_a_jpeg(blocks, image):
    assert nothing_follows("JPEG", samsung(*blocks, image=image))


@pytest.mark.parametrize(
    "data",
    [
        JPEG + SCRIPT + samsung(b"\0\0one", image=b""),
        samsung(b"\0\0one") + b"x",
        samsung(b"\0\0one")[:-1],
        samsung(b"\0\0one", image=JPEG + b"x"),
        JPEG + b"SEFT",
        JPEG + b"\xff\xff\xff\xffSEFT",
        JPEG + struct.pack("<4sIII4s", b"SEFH", 1, 9, 12, b"SEFT"),
    ],
)
def test_a_directory_that_does_not_name_all_blocks_is_no_excuse(data):
    assert not is_alone("JPEG", data)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("BMP", b"BM" + bytes(60)),
        ("GIF", b"GIF89a" + bytes(7) + b"?"),
        ("PNG", b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2**32 - 1, b"IDAT")),
        ("PPM", b"P6\n99999 99999\n255\n"),
        ("SGI", b"\x01\xda\x01\x01\0\3" + b"\xff\xff" * 3),
        ("AVIF", struct.pack(">I4s", 7, b"ftyp")),
        ("XBM", b"#define x_width 8\n"),
    ],
)
def test_a_structure_that_leads_nowhere_is_unfinished(kind, data):
    with pytest.raises(Unfinished):
        nothing_follows(kind, data)


def test_sizes_of_zero_are_computed():
    old_sun = struct.pack(">8I", 0x59A66A95, 4, 4, 24, 0, 0, 0, 0) + bytes(range(48))
    assert nothing_follows("SUN", old_sun)
    assert nothing_follows(
        "SGI", bytes([1, 218, 0, 1]) + struct.pack(">HHHH", 1, 7, 99, 99) + bytes(500) + b"x" * 7
    )


def test_compressed_rows_of_sgi_end_with_the_last_of_them():
    head = bytes([1, 218, 1, 1]) + struct.pack(">HHHH", 2, 4, 2, 1) + bytes(500)
    rows = struct.pack(">4I", 528, 532, 4, 3) + b"abcdefg"
    assert nothing_follows("SGI", head + rows)
    assert not is_alone("SGI", head + rows + SCRIPT)
