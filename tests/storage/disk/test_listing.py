"""Lists of a store on a disk by pages: names of a directory are read once while it does not change."""

import os
import time
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from filestored.storage.disk import shards
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare
from filestored.storage.disk.syscalls import Syscalls
from tests.storage.contract import MD5

OLD = time.time() - 100


@contextmanager
def listed_store(path: str):
    """A store with 20 files in its directory 00, and the number of reads of that directory, in a list."""
    reads = []
    calls = Syscalls()

    def scandir(descriptor):
        reads.append(os.readlink(f"/proc/self/fd/{descriptor}")[-2:])
        return calls.scandir(descriptor)

    prepare(path, "md5")
    for number in range(20):
        make(path, number)
    os.utime(f"{path}/00", (OLD, OLD))
    with closing(DiskBackend(path, MD5, replace(calls, scandir=scandir))) as backend:
        yield backend, reads


def make(path: str, number: int) -> str:
    """Make an empty file; return its name."""
    name = f"00{number:030x}"
    os.close(os.open(f"{path}/00/{name}", os.O_WRONLY | os.O_CREAT, 0o440))
    return name


@pytest.fixture
def listed(tmp_path):
    """See `listed_store`."""
    with listed_store(str(tmp_path / "store")) as found:
        yield *found, str(tmp_path / "store")


def first_pages(backend) -> list[str]:
    """Return the names of two pages."""
    page = backend.entries(None, 5)
    return [each.digest.hex for each in page + backend.entries(page[-1].digest, 5)]


def all_names(backend) -> list[str]:
    return [each.digest.hex for each in backend.entries(None, 1000)]


def test_directory_is_read_once_for_several_pages(listed):
    backend, reads, _ = listed
    assert [f"00{number:030x}" for number in range(10)] == first_pages(backend) == first_pages(backend)
    assert ["00"] == reads


def test_file_that_is_made_between_two_pages_is_listed(listed):
    backend, reads, path = listed
    first_pages(backend)
    name = make(path, 99)
    assert name == all_names(backend)[-1]
    os.unlink(f"{path}/00/{name}")
    assert name not in all_names(backend)
    assert 3 <= reads.count("00")


def test_names_of_a_directory_that_has_just_changed_are_not_kept(listed):
    """A further change could have the same time."""
    backend, _, path = listed
    os.utime(f"{path}/00")
    first_pages(backend)
    status = os.stat(f"{path}/00")
    name = make(path, 99)
    os.utime(f"{path}/00", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert name == all_names(backend)[-1]


def test_names_of_a_replaced_directory_are_read_again(listed):
    backend, _, path = listed
    first_pages(backend)
    os.rename(f"{path}/00", f"{path}/aside")
    os.mkdir(f"{path}/00", 0o700)
    name = make(path, 7)
    os.utime(f"{path}/00", (OLD, OLD))
    os.unlink(f"{path}/aside/{name}")
    assert 0 == backend.describe(MD5.parse(name)).size  # it is found in the new directory
    assert [name] == all_names(backend)


def test_names_are_kept_for_a_bounded_time(listed, monkeypatch):
    backend, reads, _ = listed
    first_pages(backend)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + shards.MAX_NAMES_SECONDS)
    first_pages(backend)
    assert 2 == reads.count("00")


def test_names_of_few_directories_are_kept(listed):
    backend, _, path = listed
    for number in range(256):
        os.utime(f"{path}/{number:02x}", (OLD, OLD))
    all_names(backend)
    assert shards.MAX_CACHED_SHARDS == len(backend._shard_directories._name_cache)
