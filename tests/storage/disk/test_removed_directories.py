"""Directories that are removed or replaced while the store has them open."""

import errno
import os
import shutil

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.errors import NotFound, StoreMissing
from filestored.storage.disk.file_cache import FileCache
from filestored.storage.disk.records import DiskRecords, prepare
from filestored.storage.store import Store
from tests.storage.contract import HELLO, MD5, digest_of, outcome, put, read, send, watched, without_tmpfile

NAME = digest_of(HELLO)


def remove_empty_directories(place):
    """Remove empty directories, as ``find PLACE -type d -empty -delete`` does."""
    for directory, _, _ in os.walk(place, topdown=False):
        if not os.listdir(directory):
            os.rmdir(directory)


def copied(directory):
    """Replace a directory by a copy; keep the original beside it."""
    os.rename(directory, f"{directory}-old")
    shutil.copytree(f"{directory}-old", directory)


@pytest.mark.parametrize("recent", [None, FileCache()], ids=["plain", "recent"])
def test_upload_creates_a_removed_shard_again(open_disk, place, recent):
    disk = open_disk(file_cache=recent)
    remove_empty_directories(place)
    assert {"FORMAT"} == set(os.listdir(place))
    with pytest.raises(NotFound):
        disk.open(NAME)
    assert disk.delete(NAME) is False
    assert put(disk, HELLO)
    assert HELLO == read(disk, NAME)
    assert 0o40700 == os.stat(f"{place}/{NAME.shard}").st_mode
    assert HELLO == read(open_disk(), NAME)


def test_created_shard_is_flushed_before_the_upload(open_disk, place):
    calls = []

    def note(name, args):
        root = name == "fsync" and os.fstat(args[0]).st_ino == os.stat(place).st_ino
        calls.append("flush root" if root else name)

    disk = open_disk(watched(note))
    remove_empty_directories(place)
    calls.clear()
    put(disk, HELLO)
    names = [name for name in calls if name in {"mkdir", "flush root", "link"}]
    assert ["link", "mkdir", "flush root", "link"] == names


def test_replaced_shard_is_opened_again(open_disk, place):
    disk = open_disk()
    put(disk, HELLO)
    copied(f"{place}/{NAME.shard}")
    shutil.rmtree(f"{place}/{NAME.shard}-old")
    assert HELLO == read(disk, NAME)
    copied(f"{place}/{NAME.shard}")
    shutil.rmtree(f"{place}/{NAME.shard}-old")
    assert disk.delete(NAME) is True
    assert not os.path.exists(f"{place}/{NAME.shard}/{NAME.hex}")


def test_shard_moved_away_and_back_works(disk, place):
    put(disk, HELLO)
    os.rename(f"{place}/{NAME.shard}", f"{place}/aside")
    assert HELLO == read(disk, NAME)
    os.rename(f"{place}/aside", f"{place}/{NAME.shard}")
    assert put(disk, HELLO) is False


def test_recreated_shards_leak_no_descriptors(disk, place):
    held = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        put(disk, HELLO)
        disk.delete(NAME)
        remove_empty_directories(place)
    assert held == len(os.listdir("/proc/self/fd"))


def test_removed_quarantine_directory_is_created_again(disk, place):
    put(disk, b"jello", name=NAME)
    os.rmdir(f"{place}/quarantine")
    assert put(disk, HELLO)
    assert 2 == len(os.listdir(f"{place}/quarantine"))


def test_removed_tmp_directory_is_created_again(open_disk, place):
    disk = open_disk(without_tmpfile())
    held = len(os.listdir("/proc/self/fd"))
    os.rmdir(f"{place}/tmp")
    assert put(disk, HELLO)
    assert (HELLO, held) == (read(disk, NAME), len(os.listdir("/proc/self/fd")))


@pytest.mark.parametrize("calls", [None, without_tmpfile()], ids=["O_TMPFILE", "named"])
@pytest.mark.parametrize("size", [5, 600_000])
def test_removed_store_raises_store_missing_on_upload(open_disk, place, calls, size):
    store = Store(open_disk(calls, file_cache=FileCache()), MD5, maybeDeferred)
    outcome(send(store, HELLO))
    shutil.rmtree(place)
    assert isinstance(outcome(send(store, b"x" * size)), StoreMissing)
    assert "removed" in store.degraded
    assert isinstance(outcome(store.open(NAME)), StoreMissing)
    assert not os.path.exists(place)


@pytest.mark.parametrize("act", ["open", "delete"])
def test_removed_store_raises_store_missing_on_read_and_delete(disk, place, act):
    store = Store(disk, MD5, maybeDeferred)
    shutil.rmtree(place)
    assert isinstance(outcome(getattr(store, act)(NAME)), StoreMissing)
    assert "removed" in store.degraded


def test_store_without_format_gets_no_new_shards(disk, place):
    """An unfinished ``rm -rf`` leaves this state."""
    shutil.rmtree(f"{place}/{NAME.shard}")
    os.unlink(f"{place}/FORMAT")
    with pytest.raises(StoreMissing):
        put(disk, HELLO)
    assert not os.path.exists(f"{place}/{NAME.shard}")


def test_replaced_shard_on_another_file_system_is_an_error(open_disk, place):
    disk = open_disk()
    shutil.rmtree(f"{place}/{NAME.shard}")

    def elsewhere(path, flags, *args, **kwargs):
        return os.open("/proc" if path == NAME.shard else path, flags, *args, **kwargs)

    os.mkdir(f"{place}/{NAME.shard}")
    object.__setattr__(disk._calls, "open", elsewhere)
    with pytest.raises(OSError, match="another file system") as error:
        disk.open(NAME)
    assert errno.EXDEV == error.value.errno


# --- records ----------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    prepare(str(tmp_path / "records"), "images")
    kept = DiskRecords(str(tmp_path / "records"))
    yield kept
    kept.close()


def test_removed_directories_of_records_are_created_again(kept, tmp_path):
    assert kept.create("accounts/anna/account", b"anna")
    assert kept.create("accounts/anna/images/one", b"1")
    assert kept.remove("accounts/anna/images/one", b"1")
    remove_empty_directories(str(tmp_path / "records"))
    assert not os.path.exists(tmp_path / "records/accounts/anna/images")
    assert kept.read("accounts/anna/images/one") is None
    assert kept.create("accounts/anna/images/two", b"2")
    assert b"2" == kept.read("accounts/anna/images/two")
    assert kept.remove("accounts/anna/images/two", b"2")
    assert kept.remove("accounts/anna/account", b"anna")
    remove_empty_directories(str(tmp_path / "records"))
    assert kept.create("accounts/anna/images/two", b"2")


VERBS = {
    "create": lambda kept: kept.create("accounts/bob/account", b"bob"),
    "replace": lambda kept: kept.replace("accounts/anna/account", b"anna", b"bob"),
    "remove": lambda kept: (
        kept.read("accounts/anna/account") or kept.remove("accounts/anna/account", b"anna")
    ),
    "read": lambda kept: kept.read("accounts/anna/account"),
    "names": lambda kept: kept.names("accounts"),
    "read_all": lambda kept: list(kept.read_all("accounts/anna")),
    "entries": lambda kept: kept.entries("accounts"),
    "held": lambda kept: kept.held("accounts/anna/account", b"anna").__enter__(),
    "removal": lambda kept: kept.remove("accounts/anna/account", b"anna"),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_removed_records_directory_raises_store_missing(kept, tmp_path, verb):
    assert kept.create("accounts/anna/account", b"anna")
    shutil.rmtree(tmp_path / "records")
    with pytest.raises(StoreMissing):
        verb(kept)
    assert not os.path.exists(tmp_path / "records")
