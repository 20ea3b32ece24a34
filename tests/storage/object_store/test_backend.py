"""Object backend: requests of each operation, damaged objects, streams that break."""

import errno

import pytest

from filestored.digest import algorithm
from filestored.errors import Collision, EngineError, NotFound
from filestored.interfaces import ALL_BYTES, IInMemory
from filestored.storage.health import ReadFailed
from tests.storage.contract import put, read
from tests.storage.md5_collision import COLLIDING

pytestmark = pytest.mark.needs("obstore")

SHA256, MD5 = algorithm("sha256"), algorithm("md5")
LARGE = bytes(range(256)) * 12 * 1024  # 3 MiB


def backend_of(client, tmp_path, own=SHA256):
    from filestored.storage.object_store.backend import ObjectBackend
    from filestored.storage.object_store.spool import Spool

    return ObjectBackend(client, own, Spool(str(tmp_path), reserve=0))


@pytest.fixture
def backend(prepared, tmp_path):
    return backend_of(prepared, tmp_path)


def verbs(requests):
    made, requests.made = requests.made, []
    return [verb for verb, _ in made]


@pytest.mark.parametrize(
    ("data", "new", "known"), [(b"hello", ["put"], ["put", "head"]), (LARGE, ["head", "put"], ["head"])]
)
def test_upload_takes_few_requests(backend, requests, data, new, known):
    assert put(backend, data, SHA256.digest(data))
    assert new == verbs(requests)
    assert not put(backend, data, SHA256.digest(data))
    assert known == verbs(requests)


@pytest.mark.parametrize(("data", "in_memory"), [(b"hello", True), (LARGE, False)])
def test_file_to_be_read_takes_one_request(backend, requests, data, in_memory):
    digest = SHA256.digest(data)
    put(backend, data, digest)
    verbs(requests)
    file = backend.open_to_read(digest, ALL_BYTES)
    assert in_memory == IInMemory.providedBy(file)
    found = b""
    while len(found) < file.size:
        found += file.read(len(found), 256 * 1024)
    assert data == found
    assert ["get"] == verbs(requests)
    file.close()


@pytest.mark.parametrize(
    ("wanted", "start", "stop", "expected"),
    [
        ((1000, 2000), 1000, 2000, ["get"]),
        ((len(LARGE) - 5, None), len(LARGE) - 5, len(LARGE), ["get"]),
        ((len(LARGE) - 5, len(LARGE) + 5), len(LARGE) - 5, len(LARGE), ["get"]),
        ((0, 10), 20, 30, ["get", "get"]),
        ((len(LARGE), None), 0, 10, ["get", "head", "get"]),
        ((2**40, 2**40 + 1), 0, 10, ["get", "head", "get"]),
    ],
)
def test_wanted_range_takes_one_request(backend, requests, wanted, start, stop, expected):
    digest = SHA256.digest(LARGE)
    put(backend, LARGE, digest)
    verbs(requests)
    file = backend.open_to_read(digest, wanted)
    file.will_read(start, stop)
    assert len(LARGE) == file.size
    assert LARGE[start:stop] == file.read(start, 5000)
    assert expected == verbs(requests)


def test_broken_stream_is_resumed_at_the_next_byte(backend, prepared, monkeypatch):
    from filestored.storage.object_store import client as client_module

    digest = SHA256.digest(LARGE)
    put(backend, LARGE, digest)
    whole, cuts = client_module.ObjectBody.chunks, []

    def cut(self, size):
        if len(cuts) == 4:
            yield from whole(self, size)
            return
        yield next(whole(self, size))[:100_000]
        cuts.append(1)
        raise EngineError("cut")

    monkeypatch.setattr(client_module.ObjectBody, "chunks", cut)
    monkeypatch.setattr("filestored.storage.object_store.stored_file.RESUME_SECONDS", 0.0)
    assert LARGE == read_all(backend.open_to_read(digest, ALL_BYTES))
    assert 4 == len(cuts)


@pytest.mark.parametrize("change", ["delete", "replace"])
def test_object_that_changes_while_it_is_read_fails(backend, prepared, change):
    digest = SHA256.digest(LARGE)
    put(backend, LARGE, digest)
    file, key = backend.open(digest), f"{digest.shard}/{digest}"
    prepared.delete(key) if change == "delete" else prepared.put(key, b"x")
    with pytest.raises(ReadFailed) as caught:
        file.read(0, 10)
    assert errno.EIO == caught.value.errno


def read_all(file):
    found = b""
    while len(found) < file.size:
        found += file.read(len(found), 300_000)
    return found


@pytest.mark.parametrize("size", [5, 3 * 1024 * 1024])
def test_damaged_object_is_copied_to_quarantine_and_replaced(prepared, tmp_path, size):
    data = b"h" * size
    backend, digest = backend_of(prepared, tmp_path, MD5), MD5.digest(data)
    prepared.put(f"{digest.shard}/{digest}", b"j" + data[1:])
    assert put(backend, data, digest)
    assert data == read(backend, digest)[:size]
    (name,) = prepared.entries("quarantine")
    assert b"j" + data[1:] == prepared.read(f"quarantine/{name}")[0]


def test_content_of_another_length_is_damaged_for_each_algorithm(backend, prepared):
    digest = SHA256.digest(b"hello")
    prepared.put(f"{digest.shard}/{digest}", b"hell")
    assert put(backend, b"hello", digest)
    assert b"hello" == read(backend, digest)


def test_collision_changes_nothing(prepared, tmp_path):
    first, second = COLLIDING
    backend, digest = backend_of(prepared, tmp_path, MD5), MD5.digest(first)
    put(backend, first, digest)
    with pytest.raises(Collision):
        put(backend, second, digest)
    assert first == read(backend, digest)
    assert [] == prepared.entries("quarantine")


def test_upload_without_an_answer_that_was_applied_is_stored(backend, requests):
    digest = SHA256.digest(LARGE)
    requests.fail("put", str(digest), applied=True)
    put(backend, LARGE, digest)
    assert LARGE == read_all(backend.open_to_read(digest, ALL_BYTES))


def test_listing_leaves_out_other_directories(backend, prepared):
    contents = [b"%d" % number for number in range(30)]
    for data in contents:
        put(backend, data, SHA256.digest(data))
    for name in ("buckets/x/ab/abc", "quarantine/ab", "tmp/x", "ab/junk", "00", "zz/top"):
        prepared.put(name, b"x")
    expected = sorted((SHA256.digest(data) for data in contents), key=str)
    assert expected == backend.digests(None, 1000)
    assert expected[7:12] == backend.digests(expected[6], 5)


def test_orphan_moves_to_quarantine_and_back(backend, prepared):
    digest = SHA256.digest(b"hello")
    put(backend, b"hello", digest)
    assert backend.move_to_quarantine(digest, "no image")
    assert not backend.move_to_quarantine(digest, "no image")
    with pytest.raises(NotFound):
        backend.open(digest)
    assert [True, False] == [backend.restore(digest), backend.restore(digest)]
    assert b"hello" == read(backend, digest)
    assert b"no image\n" == prepared.read(f"quarantine/{digest}.orphan.reason")[0]


def test_free_space_of_a_full_spool_is_that_of_memory(prepared, tmp_path):
    from filestored.storage.object_store.backend import ObjectBackend
    from filestored.storage.object_store.spool import MAX_MEMORY_BYTES, Spool

    full = ObjectBackend(prepared, SHA256, Spool(str(tmp_path), reserve=2**60))
    assert MAX_MEMORY_BYTES == full.free_space()
    assert put(full, b"hello", SHA256.digest(b"hello"))


def test_file_whose_body_does_not_come_fails_before_it_is_open(backend, prepared, monkeypatch):
    from filestored.storage.object_store import client as client_module

    digest = SHA256.digest(LARGE)
    put(backend, LARGE, digest)

    def broken(self, size):
        raise EngineError("cut")
        yield b""

    monkeypatch.setattr(client_module.ObjectBody, "chunks", broken)
    prepared.timeout = 0.01
    with pytest.raises(EngineError):
        backend.open_to_read(digest, ALL_BYTES)
