"""File cache: small files in memory, valid only while the file on the disk is unchanged."""

import dataclasses
import os

import pytest

from filestored.digest import algorithm
from filestored.errors import NotFound
from filestored.interfaces import IInMemory
from filestored.storage.disk.file_cache import MAX_FILE_BYTES, FileCache
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.health import ReadFailed
from tests.storage.contract import HELLO, digest_of, put, read

NAME = "5d/5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def opened():
    """Return the list of names opened for reading."""
    return []


@pytest.fixture
def disk(open_disk, opened):
    def note(name, *arguments, **options):
        opened.append(name)
        return os.open(name, *arguments, **options)

    return open_disk(dataclasses.replace(Syscalls(), open=note), file_cache=FileCache(max_files=2))


def stored(disk, data):
    """Store `data`; return its digest."""
    put(disk, data)
    return digest_of(data)


def opens_of(digest, opened):
    return opened.count(digest.hex)


def test_cache_hit_opens_no_file(disk, opened):
    digest = stored(disk, HELLO)
    assert [HELLO] * 3 == [read(disk, digest) for _ in range(3)]
    assert 1 == opens_of(digest, opened)
    assert IInMemory.providedBy(disk.open(digest))


def test_large_file_is_not_cached(disk, opened):
    digest = stored(disk, b"x" * (MAX_FILE_BYTES + 1))
    assert b"x" * (MAX_FILE_BYTES + 1) == read(disk, digest) == read(disk, digest)
    assert 2 == opens_of(digest, opened)


def test_cache_misses_a_file_deleted_by_another_process(disk, place):
    digest = stored(disk, HELLO)
    read(disk, digest)
    os.unlink(f"{place}/{NAME}")
    with pytest.raises(NotFound):
        disk.open(digest)


def test_cache_misses_a_file_replaced_by_another_process(disk, place, opened):
    digest = stored(disk, HELLO)
    read(disk, digest)
    os.rename(f"{place}/{NAME}", f"{place}/quarantine/aside")
    with open(f"{place}/{NAME}", "wb") as file:
        file.write(HELLO)
    assert HELLO == read(disk, digest)
    assert 2 == opens_of(digest, opened)


def corrupt_in_place(path, content):
    """Replace the bytes of a stored file in place."""
    os.chmod(path, 0o600)
    with open(path, "wb") as file:
        file.write(content)


@pytest.mark.parametrize("content", [b"jello", b"hell", b"", b"hello!"], ids=repr)
@pytest.mark.parametrize("was_read", [False, True])
def test_corrupt_file_is_an_error_and_is_not_cached(disk, place, content, was_read):
    digest = stored(disk, HELLO)
    if was_read:
        read(disk, digest)
    corrupt_in_place(f"{place}/{NAME}", content)
    for _ in range(2):
        with pytest.raises(ReadFailed, match=f"{NAME} is damaged"):
            disk.open(digest)
    assert [] == os.listdir(f"{place}/quarantine")
    put(disk, HELLO)
    assert HELLO == read(disk, digest)
    assert 2 == len(os.listdir(f"{place}/quarantine"))


def test_cache_hit_is_not_hashed_again(disk, monkeypatch):
    digest = stored(disk, HELLO)
    read(disk, digest)
    monkeypatch.setattr(type(disk), "_is_digest_of", None)
    assert HELLO == read(disk, digest)


def test_cache_misses_a_file_replaced_by_a_symbolic_link(disk, place):
    digest = stored(disk, HELLO)
    read(disk, digest)
    os.rename(f"{place}/{NAME}", f"{place}/quarantine/aside")
    os.symlink(f"{place}/quarantine/aside", f"{place}/{NAME}")
    with pytest.raises(NotFound):
        disk.open(digest)


def test_full_cache_evicts_the_oldest_file(disk, opened):
    digests = [stored(disk, text) for text in (b"one", b"two", b"three")]
    for digest in [*digests, *digests]:
        read(disk, digest)
    assert [2, 2, 2] == [opens_of(digest, opened) for digest in digests]


def test_empty_file_is_cached(disk):
    digest = stored(disk, b"")
    assert b"" == read(disk, digest) == read(disk, digest)


def test_file_of_a_former_algorithm_is_verified_by_that_algorithm(disk, place):
    contents = {"sha256": b"moved", "sha512": b"left behind"}
    names = {content: digest_of(content, algorithm(name)) for name, content in contents.items()}
    for content, name in names.items():
        put(disk, content, name=name)
        assert content == read(disk, name)
    corrupt_in_place(f"{place}/{names[b'moved'].shard}/{names[b'moved']}", b"roved")
    with pytest.raises(ReadFailed, match="do not have the sha256"):
        disk.open(names[b"moved"])
