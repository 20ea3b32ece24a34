"""The contract that every backend keeps."""

import threading
import time

import pytest
from zope.interface.verify import verifyObject

from filestored.errors import Collision, NotFound
from filestored.interfaces import IBackend, ISink, IStoredFile
from tests.storage.contract import HELLO, digest_of, put, read
from tests.storage.md5_collision import COLLIDING
from tests.storage.object_stores import ENGINES, LOCAL

SIZES = (0, 1, 4095, 65536, 1024 * 1024 + 1, 3 * 1024 * 1024)


def test_objects_provide_their_interfaces(backend):
    put(backend, HELLO)
    sink, file = backend.begin(), backend.open(digest_of(HELLO))
    assert verifyObject(IBackend, backend)
    assert verifyObject(ISink, sink)
    assert verifyObject(IStoredFile, file)
    sink.discard()
    file.close()


@pytest.mark.parametrize("size", SIZES)
def test_stored_content_is_read_back(backend, size):
    data = (b"0123456789abcde" * (size // 15 + 1))[:size]
    assert put(backend, data) is True
    assert data == read(backend, digest_of(data))


def test_missing_content_is_not_found(backend):
    with pytest.raises(NotFound):
        backend.open(digest_of(HELLO))


def test_the_same_bytes_again_are_not_new(backend):
    assert [True, False, False] == [put(backend, HELLO) for _ in range(3)]
    assert [digest_of(HELLO)] == backend.digests(None, 10)


def test_unpublished_content_is_invisible(backend):
    sink = backend.begin()
    sink.write(HELLO)
    sink.seal()
    assert [] == backend.digests(None, 10)
    sink.discard()
    assert [] == backend.digests(None, 10)


def test_discard_is_idempotent_at_any_time(backend):
    sink = backend.begin()
    sink.write(HELLO)
    sink.seal()
    sink.publish(digest_of(HELLO))
    sink.discard()
    sink.discard()
    assert read(backend, digest_of(HELLO)) == HELLO


def test_write_accepts_any_buffer(backend):
    sink = backend.begin()
    for piece in (b"he", bytearray(b"ll"), memoryview(b"oo")[:1]):
        sink.write(piece)
    sink.seal()
    assert sink.publish(digest_of(HELLO))
    sink.discard()
    assert read(backend, digest_of(HELLO)) == HELLO


def test_a_range_is_read_from_where_it_starts(backend):
    put(backend, HELLO)
    file = backend.open(digest_of(HELLO))
    assert (5, b"ell", b"o", b"") == (file.size, file.read(1, 3), file.read(4, 100), file.read(5, 1))
    file.close()


def test_delete_returns_whether_it_was_stored(backend):
    put(backend, HELLO)
    assert [True, False] == [backend.delete(digest_of(HELLO)) for _ in range(2)]
    with pytest.raises(NotFound):
        backend.open(digest_of(HELLO))


@pytest.mark.parametrize("backend", LOCAL, indirect=True)
def test_open_file_stays_readable_after_a_delete(backend):
    """An object store has no open files: a GET after the deletion finds nothing."""
    put(backend, HELLO)
    file = backend.open(digest_of(HELLO))
    backend.delete(digest_of(HELLO))
    assert file.read(0, 5) == HELLO
    file.close()


@pytest.mark.parametrize("backend", ENGINES, indirect=True)
@pytest.mark.parametrize("again", [False, True])
def test_deleted_object_raises_an_error_of_the_disk_and_no_not_found(backend, again):
    """A download that has begun is broken off; `NotFound` would be an answer to another question."""
    put(backend, HELLO)
    file = backend.open(digest_of(HELLO))
    backend.delete(digest_of(HELLO))
    if again:
        put(backend, b"other", name=digest_of(HELLO))
    with pytest.raises(OSError, match="was deleted while it was read") as caught:
        file.read(0, 5)
    assert not isinstance(caught.value, NotFound | FileNotFoundError)
    file.close()


def test_digests_come_in_order_and_in_pages(backend):
    stored = sorted((digest_of(b"%d" % number) for number in range(40)), key=str)
    for number in range(40):
        put(backend, b"%d" % number)
    paged, after = [], None
    while page := backend.digests(after, 7):
        paged += page
        after = page[-1]
    assert stored == paged
    assert stored == backend.digests(None, 1000)


def test_free_space_is_positive(backend):
    assert backend.free_space() > 0


def test_the_pair_of_wang_collides():
    first, second = COLLIDING
    assert first != second
    assert "79054025255fb1a26e4bc422aef54eb4" == digest_of(first).hex == digest_of(second).hex


def test_colliding_bytes_are_refused_and_change_nothing(backend):
    first, second = COLLIDING
    put(backend, first)
    with pytest.raises(Collision):
        put(backend, second)
    assert first == read(backend, digest_of(first))
    assert put(backend, first) is False


@pytest.mark.parametrize("rotten", [b"jello", b"", b"hello and more"])
def test_upload_replaces_a_corrupt_file(backend, rotten):
    put(backend, rotten, name=digest_of(HELLO))
    assert put(backend, HELLO) is True
    assert HELLO == read(backend, digest_of(HELLO))
    assert put(backend, HELLO) is False


def test_one_of_many_concurrent_creates_wins(backend):
    created: list[bool] = []
    threads = [threading.Thread(target=lambda: created.append(put(backend, HELLO))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [False] * 15 + [True] == sorted(created)
    assert HELLO == read(backend, digest_of(HELLO))


def test_stored_file_is_described_by_size_and_time(backend):
    before = time.time()
    put(backend, HELLO)
    found = backend.describe(digest_of(HELLO))
    assert (digest_of(HELLO), len(HELLO)) == found[:2]
    assert abs(found.modified - before) < 60
    assert [found] == backend.entries(None, 10)


def test_missing_file_is_not_described(backend):
    with pytest.raises(NotFound):
        backend.describe(digest_of(HELLO))
    put(backend, HELLO)
    backend.delete(digest_of(HELLO))
    with pytest.raises(NotFound):
        backend.describe(digest_of(HELLO))


def test_entries_are_those_of_the_digests_page_by_page(backend):
    contents = [bytes([number]) * number for number in range(7)]
    for data in contents:
        put(backend, data)
    expected = sorted((digest_of(data).hex, len(data)) for data in contents)
    for limit in (1, 2, 7, 8):
        after, found = None, []
        while page := backend.entries(after, limit):
            assert len(page) <= limit
            found += [(each.digest.hex, each.size) for each in page]
            after = page[-1].digest
        assert expected == found
    assert [each.digest for each in backend.entries(None, 9)] == backend.digests(None, 9)
