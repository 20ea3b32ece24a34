"""Spool: content in memory within a budget, else in files without a name."""

import errno
import mmap
import os

import pytest

from filestored.errors import EngineError, UnusableStore
from filestored.storage.object_store import spool as spool_module
from filestored.storage.object_store.spool import MAX_MEMORY_BYTES, MAX_TOTAL_MEMORY_BYTES, Spool, check
from tests.daemon_process import until
from tests.storage.contract import watched


@pytest.fixture
def spool(tmp_path):
    return Spool(str(tmp_path), reserve=0)


def filled(spool, *sizes):
    content = spool.open()
    for size in sizes:
        content.write(b"x" * size)
    return content


@pytest.mark.parametrize(
    ("sizes", "in_memory"),
    [
        *(((), True), ((1,), True), ((MAX_MEMORY_BYTES,), True)),
        *(((MAX_MEMORY_BYTES, 1), False), ((5, MAX_MEMORY_BYTES), False)),
    ],
)
def test_small_content_stays_in_memory(spool, sizes, in_memory):
    content = filled(spool, *sizes)
    assert (in_memory, sum(sizes)) == (content.in_memory, content.size)
    assert b"x" * sum(sizes) == bytes(content.buffer()[:])
    content.discard()


def test_file_has_no_name_and_is_closed(spool, tmp_path):
    before = os.listdir("/proc/self/fd")
    content = filled(spool, 2 * MAX_MEMORY_BYTES)
    assert [] == os.listdir(tmp_path)
    content.discard()
    content.discard()
    assert len(before) == len(os.listdir("/proc/self/fd"))


def test_content_in_memory_is_bounded_for_all_uploads_together(spool):
    count = MAX_TOTAL_MEMORY_BYTES // MAX_MEMORY_BYTES
    contents = [filled(spool, MAX_MEMORY_BYTES) for _ in range(count + 1)]
    assert [True] * count + [False] == [each.in_memory for each in contents]
    for each in contents:
        each.discard()
        each.discard()
    again = filled(spool, MAX_MEMORY_BYTES)
    assert again.in_memory
    again.discard()


def test_content_that_moves_to_a_file_frees_its_memory(spool):
    for _ in range(2 * MAX_TOTAL_MEMORY_BYTES // MAX_MEMORY_BYTES):
        content = filled(spool, MAX_MEMORY_BYTES, 1)
        assert not content.in_memory
        content.discard()
    content = filled(spool, 1)
    assert content.in_memory
    content.discard()


def test_mapped_pages_are_dropped_until_the_end(spool, monkeypatch):
    monkeypatch.setattr(spool_module, "DROP_INTERVAL_SECONDS", 0.01)
    dropped = []

    class Watched(mmap.mmap):
        def madvise(self, option):
            dropped.append(option)
            return super().madvise(option)

    monkeypatch.setattr(spool_module.mmap, "mmap", Watched)
    content = filled(spool, 2 * MAX_MEMORY_BYTES)
    mapped = content.buffer()
    until(lambda: len(dropped) > 2, "pages are dropped")
    assert b"x" * 10 == mapped[:10]
    content.discard()
    until(lambda: not spool._is_dropping, "the thread ends")
    assert {mmap.MADV_DONTNEED} == set(dropped)


def test_only_the_reserve_is_free(tmp_path):
    spool = Spool(str(tmp_path), reserve=2**60)
    assert 0 == spool.free_space()
    content = filled(spool, 1)
    with pytest.raises(OSError) as caught:
        content.write(b"x" * MAX_MEMORY_BYTES)
    assert errno.ENOSPC == caught.value.errno
    content.discard()


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, OSError), (errno.EMFILE, OSError), (errno.EIO, EngineError), (errno.EROFS, EngineError)],
)
def test_faulty_disk_is_no_fault_of_the_object_store(tmp_path, code, kind):
    def fail(name, args):
        raise OSError(code, os.strerror(code))

    content = Spool(str(tmp_path), 0, watched(fail)).open()
    with pytest.raises(OSError) as caught:
        content.write(b"x" * 2 * MAX_MEMORY_BYTES)
    assert kind is type(caught.value)
    content.discard()


def test_directory_is_checked(tmp_path):
    check(str(tmp_path))
    with pytest.raises(UnusableStore, match="--spool"):
        check(str(tmp_path / "missing"))


def test_missing_directory_is_an_error_of_the_engine(tmp_path):
    directory = tmp_path / "spool"
    directory.mkdir()
    spool = Spool(str(directory), reserve=0)
    directory.rmdir()
    with pytest.raises(EngineError):
        spool.free_space()
    content = filled(spool, 1)
    with pytest.raises(EngineError):
        content.write(b"x" * MAX_MEMORY_BYTES)
    content.discard()
