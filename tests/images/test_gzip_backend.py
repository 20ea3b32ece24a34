"""The gzip form: what goes in comes out in order, in bounded steps, and damage is found."""

import gzip
import zlib
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from filestored.images import gzip_backend
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.gzip_backend import GunzippedFile, GzipBackend
from filestored.interfaces import IBackend, INonBlockingOpen, ISink, IStoredFile
from filestored.storage.memory import MemoryBackend, MemoryFile
from tests.storage.contract import digest_of, put, read
from tests.storage.object_stores import ENGINES, open_backend, opened_client

SOFT = b"0123456789abcdef" * 70_000
HARD = Random(1).randbytes(700_000)


@pytest.fixture(params=["the best", "zlib"])
def compressor(request, monkeypatch):
    """With ISA-L, where it is installed, and without."""
    if request.param == "zlib":
        monkeypatch.setattr(gzip_backend, "_new_compressor", gzip_backend._zlib)


@pytest.fixture(params=["memory", *ENGINES])
def inner(request, tmp_path):
    if request.param == "memory":
        yield MemoryBackend(UNIQUE_SHA256)
        return
    with opened_client(request) as client:
        yield open_backend(client, UNIQUE_SHA256, str(tmp_path))


@pytest.mark.usefixtures("compressor")
@pytest.mark.parametrize(("data", "packed"), [(SOFT, True), (HARD, False), (b"x", False), (b"", False)])
def test_gzip_is_used_where_it_saves_space(inner, data, packed):
    name = digest_of(data, UNIQUE_SHA256)
    sink = GzipBackend(inner).begin()
    sink.write(data)
    sink.seal()
    sink.publish(name)
    sink.discard()
    stored = read(inner, name)
    assert ("gzip" if packed else None) == sink.encoding
    assert data == (gzip.decompress(stored) if packed else stored)
    assert len(stored) <= len(data)


@pytest.mark.usefixtures("compressor")
@pytest.mark.parametrize("size", [1, 4096, 262144])
def test_gzip_of_pieces_of_any_size_has_the_same_content(inner, size):
    data = SOFT[: 40 * size]
    backend = GzipBackend(inner)
    sink = backend.begin()
    for start in range(0, len(data), size):
        sink.write(data[start : start + size])
    sink.seal()
    name = digest_of(data, UNIQUE_SHA256)
    sink.publish(name)
    sink.discard()
    stored = read(inner, name)
    assert data == (gzip.decompress(stored) if sink.encoding else stored)


def test_empty_piece_does_not_decide_on_gzip(inner):
    sink = GzipBackend(inner).begin()
    for piece in (b"", SOFT, b"", SOFT):
        sink.write(piece)
    sink.seal()
    name = digest_of(b"", UNIQUE_SHA256)
    sink.publish(name)
    assert SOFT * 2 == gzip.decompress(read(inner, name))


def test_classes_implement_their_interfaces(inner, open_disk):
    packing_backend = GzipBackend(inner)
    assert verifyObject(IBackend, packing_backend)
    assert verifyObject(ISink, packing_backend.begin())
    assert verifyObject(IStoredFile, GunzippedFile(MemoryFile(b""), 0))
    assert not INonBlockingOpen.providedBy(packing_backend)
    assert INonBlockingOpen.providedBy(GzipBackend(open_disk()))


# --- reading ---------------------------------------------------------------------------------------


def unpacked(data, size=None):
    return GunzippedFile(MemoryFile(gzip.compress(data)), len(data) if size is None else size)


@given(st.binary(max_size=200), st.lists(st.integers(1, 220), max_size=8))
def test_reads_of_any_size_in_order_return_the_original(data, counts):
    file, found = unpacked(data), b""
    for count in counts:
        got = file.read(len(found), count)
        assert bool(got) == (len(found) < len(data))
        assert len(got) <= count
        found += got
    assert data[: len(found)] == found


@pytest.mark.parametrize("offset", [0, 999, 1001])
def test_read_out_of_order_raises_and_decompresses_nothing(offset):
    inner = CountingFile(gzip.compress(SOFT))
    file = GunzippedFile(inner, len(SOFT))
    file.read(0, 1000)
    before = list(inner.counts)
    with pytest.raises(ValueError, match="in order"):
        file.read(offset, 10)
    assert inner.counts == before


@pytest.mark.parametrize("data", [SOFT, HARD, SOFT[:1], b""], ids=["soft", "hard", "one", "none"])
@pytest.mark.parametrize("count", [1000, 65536, 2**30])
def test_reads_in_order_return_everything(data, count):
    file, found = unpacked(data), b""
    while piece := file.read(len(found), count):
        found += piece
    assert data == found


class CountingFile(MemoryFile):
    """A file that notes how many bytes each read took."""

    def __init__(self, data):
        super().__init__(data)
        self.counts = []

    def read(self, offset, count):
        data = super().read(offset, count)
        self.counts.append(len(data))
        return data


def test_read_of_a_gzip_bomb_is_bounded_in_output_and_input():
    inner = CountingFile(gzip.compress(b"\0" * 50_000_000))
    file = GunzippedFile(inner, 50_000_000)
    assert len(file.read(0, 2**30)) == gzip_backend.MAX_OUTPUT_BYTES
    assert sum(inner.counts) <= gzip_backend.INPUT_BYTES


@pytest.mark.parametrize(
    "silent",
    [
        gzip.compress(b"", mtime=0)[:10] + b"\0\0\0\xff\xff" * 2_000_000,
        b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 10_000_000,
    ],
    ids=["empty blocks", "a name without end"],
)
def test_long_input_without_output_is_damage(silent):
    inner = CountingFile(silent)
    with pytest.raises(OSError, match="nothing"):
        GunzippedFile(inner, 10).read(0, 10)
    assert sum(inner.counts) <= gzip_backend.MAX_INPUT_BYTES + 2 * gzip_backend.INPUT_BYTES


DAMAGED = {
    "cut": gzip.compress(SOFT)[:-9],
    "cut before the checksum": gzip.compress(SOFT)[:-8],
    "cut to nothing": b"",
    "a wrong checksum": gzip.compress(SOFT)[:-5] + b"\0" + gzip.compress(SOFT)[-4:],
    "not gzip": SOFT,
    "longer than recorded": gzip.compress(SOFT + b"x"),
    "shorter than recorded": gzip.compress(SOFT[:-1]),
}


@pytest.mark.parametrize("stored", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_found_before_the_last_byte_is_returned(stored):
    pieces = []
    with pytest.raises(OSError, match="damaged"):
        pieces.extend(all_pieces(GunzippedFile(MemoryFile(stored), len(SOFT)), pieces))
    assert sum(map(len, pieces)) < len(SOFT)


def all_pieces(file, given):
    """Read in order, noting in `given` what was read."""
    while piece := file.read(sum(map(len, given)), 65536):
        given.append(piece)
    return []


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_flipped_bit_is_an_error_or_has_no_effect(position, bit):
    data = bytes(Random(2).choices(b"abcdef", k=20_000))
    stored = bytearray(gzip.compress(data))
    stored[position % len(stored)] ^= 1 << bit
    file, found = GunzippedFile(MemoryFile(bytes(stored)), len(data)), b""
    try:
        while piece := file.read(len(found), 4096):
            found += piece
    except OSError:
        return
    assert data == found


def test_gzip_header_has_no_date_and_no_name():
    compressor = gzip_backend.new_compressor()
    packed = compressor.compress(SOFT) + compressor.flush()
    assert b"\0\0\0\0" == packed[4:8]
    assert SOFT == zlib.decompress(packed, 31)


# --- names -----------------------------------------------------------------------------------------


def test_equal_content_is_stored_twice(inner):
    backend = GzipBackend(inner)
    first, second = (digest_of(SOFT, UNIQUE_SHA256) for _ in range(2))
    assert [True, True] == [put(backend, SOFT, name) for name in (first, second)]
    backend.delete(first)
    assert SOFT == gzip.decompress(read(inner, second))
    assert [second] == backend.digests(None, 10)


def test_gzip_backend_delegates_to_the_inner_backend(inner):
    backend = GzipBackend(inner)
    assert backend.free_space() == pytest.approx(inner.free_space(), rel=0.01)  # other tests write, too
    assert all(one != other for one, other in pairwise([digest_of(b"", UNIQUE_SHA256) for _ in range(3)]))
