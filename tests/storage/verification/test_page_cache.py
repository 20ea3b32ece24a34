"""Page cache: verification leaves pages in memory that were there, and brings in no others.

The files are on the disk that holds the checkout: a file system in memory has nothing else than its pages.
"""

import errno
import fcntl
import hashlib
import mmap
import os
import shutil
import tempfile

import pytest

from filestored.digest import algorithm
from filestored.storage.disk.layout import prepare
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.verification import disk_files
from filestored.storage.verification.disk_place import DiskPlace
from filestored.storage.verification.page_cache import drop_pages, resident_pages
from tests.daemon_process import ROOT
from tests.storage.verification.verified_stores import verify

PAGE = mmap.PAGESIZE
PAGES = 300


@pytest.fixture
def directory():
    """A directory on a disk."""
    path = tempfile.mkdtemp(prefix=".page-cache-", dir=ROOT)
    yield path
    shutil.rmtree(path)


def write(path, data):
    """Write a file whose pages are not in memory afterwards."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident(path):
    with open(path, "rb") as file:
        return resident_pages(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def read_page(path, number):
    """Bring one page into memory."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(file.fileno(), PAGE, number * PAGE)


def test_only_pages_that_were_absent_are_dropped(directory):
    path = f"{directory}/file"
    write(path, bytes(8 * PAGE))
    read_page(path, 3)
    before = resident(path)
    assert bytes([0, 0, 0, 1, 0, 0, 0, 0]) == before
    with open(path, "rb") as file:
        file.read()
        assert bytes([1]) * 8 == resident(path)
        drop_pages(file.fileno(), 0, before)
    assert before == resident(path)


def test_empty_range_has_no_pages(directory):
    write(f"{directory}/file", b"")
    assert b"" == resident(f"{directory}/file")


@pytest.fixture
def stored(directory):
    """A store with a file of many pages, some of which are in memory; and the path of the file."""
    store = f"{directory}/store"
    prepare(store, "sha256")
    data = os.urandom(PAGES * PAGE + 100)
    name = hashlib.sha256(data).hexdigest()
    path = f"{store}/{name[:2]}/{name}"
    write(path, data)
    for number in (0, 7, 8, 150, PAGES):
        read_page(path, number)
    return store, path


@pytest.mark.parametrize("direct", ["direct", "refused when opened", "refused when read"])
def test_verification_leaves_the_page_cache_as_it_is(stored, monkeypatch, direct):
    store, path = stored
    if direct == "refused when opened":
        monkeypatch.setattr(disk_files, "_FLAGS", disk_files._FLAGS[1:] * 2)
    calls = Syscalls(preadv=unaligned_once) if direct == "refused when read" else Syscalls()
    before = resident(path)
    assert 5 == sum(before)
    done = verify(DiskPlace(store, calls=calls))
    assert ((1, True), before) == ((done.files, done.is_faultless), resident(path))


def unaligned_once(descriptor, buffers, offset):
    """Read as a file system does that only lets files be opened with O_DIRECT."""
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return os.preadv(descriptor, buffers, offset)


def test_access_time_is_left_as_it_is(stored):
    store, path = stored
    os.utime(path, (0, os.stat(path).st_mtime))
    verify(DiskPlace(store))
    assert 0 == os.stat(path).st_atime


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 17])
def test_file_of_any_size_is_compared_whole(directory, size):
    store = f"{directory}/store"
    prepare(store, "sha256")
    data = os.urandom(size)
    name = algorithm("sha256").digest(data).hex
    write(f"{store}/{name[:2]}/{name}", data)
    done = verify(DiskPlace(store))
    assert (1, size, True) == (done.files, done.bytes, done.is_faultless)
