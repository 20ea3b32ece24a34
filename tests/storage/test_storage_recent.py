"""Small files that are kept in memory are served only while the disk still has them."""

import dataclasses
import os

import pytest

from filestored.errors import NotFound
from filestored.interfaces import IAtHand
from filestored.storage.calls import Calls
from filestored.storage.recent import LARGEST, RecentFiles
from tests.storage.contract import HELLO, digest_of, put, read

NAME = "5d/5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def opened():
    """The names that were opened for reading, in a list."""
    return []


@pytest.fixture
def disk(open_disk, opened):
    def note(name, *arguments, **options):
        opened.append(name)
        return os.open(name, *arguments, **options)

    return open_disk(dataclasses.replace(Calls(), open=note), recent=RecentFiles(most=2))


def stored(disk, data):
    """The digest of `data`, which is on disk now."""
    put(disk, data)
    return digest_of(data)


def opens_of(digest, opened):
    return opened.count(digest.hex)


def test_a_small_file_is_opened_once(disk, opened):
    digest = stored(disk, HELLO)
    assert [HELLO] * 3 == [read(disk, digest) for _ in range(3)]
    assert 1 == opens_of(digest, opened)
    assert IAtHand.providedBy(disk.open(digest))


def test_a_larger_file_is_opened_every_time(disk, opened):
    digest = stored(disk, b"x" * (LARGEST + 1))
    assert b"x" * (LARGEST + 1) == read(disk, digest) == read(disk, digest)
    assert 2 == opens_of(digest, opened)


def test_a_file_that_another_process_has_deleted_is_not_there(disk, place):
    digest = stored(disk, HELLO)
    read(disk, digest)
    os.unlink(f"{place}/{NAME}")
    with pytest.raises(NotFound):
        disk.open(digest)


def test_a_file_that_another_process_has_replaced_is_read_anew(disk, place):
    digest = stored(disk, HELLO)
    read(disk, digest)
    os.rename(f"{place}/{NAME}", f"{place}/quarantine/aside")
    with open(f"{place}/{NAME}", "wb") as file:
        file.write(b"jello")
    assert b"jello" == read(disk, digest)


def test_a_file_whose_bytes_were_changed_in_place_is_read_anew(disk, place):
    digest = stored(disk, HELLO)
    read(disk, digest)
    os.chmod(f"{place}/{NAME}", 0o600)
    with open(f"{place}/{NAME}", "r+b") as file:
        file.write(b"j")
    assert b"jello" == read(disk, digest)


def test_a_symbolic_link_in_its_place_is_not_followed(disk, place):
    digest = stored(disk, HELLO)
    read(disk, digest)
    os.rename(f"{place}/{NAME}", f"{place}/quarantine/aside")
    os.symlink(f"{place}/quarantine/aside", f"{place}/{NAME}")
    with pytest.raises(NotFound):
        disk.open(digest)


def test_only_so_many_files_are_kept(disk, opened):
    digests = [stored(disk, text) for text in (b"one", b"two", b"three")]
    for digest in [*digests, *digests]:
        read(disk, digest)
    assert [2, 2, 2] == [opens_of(digest, opened) for digest in digests]


def test_a_file_with_no_bytes_is_a_file(disk):
    digest = stored(disk, b"")
    assert b"" == read(disk, digest) == read(disk, digest)
