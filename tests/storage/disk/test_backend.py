"""Disk backend: names, modes, order of flushes, non-regular files, shards, quarantine, free space."""

import dataclasses
import errno
import os
import stat
from contextlib import closing

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.errors import NotFound, UnusableStore
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import SHARD_NAMES, prepare
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.health import ShardUnusable
from filestored.storage.store import Store
from tests.storage.contract import (
    HELLO,
    MD5,
    digest_of,
    files_below,
    outcome,
    put,
    read,
    send,
    watched,
)
from tests.storage.special_files import KINDS, plant

NAME = "5d/5d41402abc4b2a76b9719d911017c592"


def test_file_is_stored_under_shard_and_digest(disk, place):
    put(disk, HELLO)
    assert [NAME] == files_below(place)
    with open(f"{place}/{NAME}", "rb") as file:
        assert HELLO == file.read()
    assert 0o100440 == os.stat(f"{place}/{NAME}").st_mode


def test_unpublished_upload_leaves_no_named_file(disk, place):
    sink = disk.begin()
    sink.write(HELLO)
    assert [] == files_below(place)
    sink.discard()


# --- the order of the flushes ----------------------------------------------------------------


def kind_of(descriptor):
    """Return the kind of an open file: a directory, the file ``FORMAT``, or another file."""
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        return "directory"
    return "FORMAT" if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/FORMAT") else "file"


def diary(open_disk, calls=None):
    """Return the events of a small upload and its reply, in order."""
    log: list[str] = []

    def note(name, args):
        if name == "fsync":
            log.append(f"flush {kind_of(args[0])}")
        elif name == "pread" and kind_of(args[0]) == "FORMAT":
            log.append("confirm")
        elif name in ("link", "fchmod", "write"):
            log.append(name)

    put(open_disk(calls(watched(note)) if calls else watched(note)), HELLO)
    return [*log, "answer"]


def is_durable(log: list[str]) -> bool:
    """Return whether bytes were flushed before their link, and the name before the reply."""
    expected = ["write", "fchmod", "flush file", "link", "flush directory", "confirm", "answer"]
    return expected == log


def forgetting(kind: str):
    """Return calls without one kind of flush."""

    def forget(calls: Syscalls) -> Syscalls:
        def fsync(descriptor: int) -> None:
            if kind_of(descriptor) != kind:
                calls.fsync(descriptor)

        def pread(descriptor: int, *more: int) -> bytes:
            return b"{" if kind_of(descriptor) == kind else calls.pread(descriptor, *more)

        return dataclasses.replace(calls, fsync=fsync, pread=pread)

    return forget


def test_bytes_are_flushed_before_link_and_name_before_reply(open_disk):
    assert is_durable(diary(open_disk))


@pytest.mark.parametrize("flush", ["file", "directory", "FORMAT"])
def test_missing_flush_is_detected(open_disk, flush):
    assert not is_durable(diary(open_disk, forgetting(flush)))


def test_name_of_existing_file_is_flushed_too(open_disk, disk):
    put(disk, HELLO)
    log = diary(open_disk)
    assert ["flush directory", "confirm", "answer"] == log[-3:]


def test_flush_names_flushes_each_shard_once(open_disk):
    flushed: list[int] = []
    disk = open_disk(watched(lambda name, args: flushed.append(args[0]) if name == "fsync" else None))
    disk.flush_names(digest_of(b"%d" % number) for number in range(5000))
    assert len(SHARD_NAMES) == len(flushed) == len(set(flushed))


# --- non-regular files -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_non_regular_file_is_not_found(disk, place, kind):
    plant(kind, f"{place}/{NAME}")
    with pytest.raises(NotFound):
        disk.open(digest_of(HELLO))
    assert [] == disk.digests(None, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_upload_quarantines_a_non_regular_file(disk, place, kind):
    plant(kind, f"{place}/{NAME}")
    assert put(disk, HELLO)
    assert HELLO == read(disk, digest_of(HELLO))
    assert 2 == len(os.listdir(place + "/quarantine"))


def test_names_that_are_no_digests_are_not_listed(disk, place):
    put(disk, HELLO)
    for name in ("5d/readme", "5d/" + "5d" * 15, "00/5d41402abc4b2a76b9719d911017c593", "5d/" + "5D" * 16):
        with open(f"{place}/{name}", "w"):
            pass
    assert [digest_of(HELLO)] == disk.digests(None, 10)


def test_directory_with_the_name_of_a_file_is_not_deleted(disk, place):
    os.mkdir(f"{place}/{NAME}")
    assert disk.delete(digest_of(HELLO)) is False
    assert os.path.isdir(f"{place}/{NAME}")


def test_shard_that_is_a_symbolic_link_is_refused(place):
    prepare(place, "md5")
    os.rmdir(place + "/5d")
    os.symlink("/tmp", place + "/5d")
    with pytest.raises(UnusableStore, match="5d"):
        DiskBackend(place, MD5)


def test_shard_on_another_file_system_is_refused(place):
    prepare(place, "md5")

    def elsewhere(path, flags, *args, **kwargs):
        return os.open("/proc" if path == "5d" else path, flags, *args, **kwargs)

    with pytest.raises(UnusableStore, match="5d is on another"):
        DiskBackend(place, MD5, Syscalls(open=elsewhere))


class Fault:
    """Calls whose `open` of one shard fails while `code` is set."""

    def __init__(self, shard: str, code: int | None) -> None:
        self.shard, self.code = shard, code
        self.calls = watched(self._fail)

    def _fail(self, name, args):
        if name == "open" and args[0] == self.shard and self.code:
            raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
def test_unreadable_shard_fails_only_its_files_until_it_is_readable(open_disk, code):
    for data in (HELLO, b"world"):
        put(open_disk(), data)
    fault = Fault(digest_of(HELLO).shard, code)
    disk = open_disk(fault.calls)
    assert b"world" == read(disk, digest_of(b"world"))
    for use in (disk.open, disk.delete):
        with pytest.raises(ShardUnusable):
            use(digest_of(HELLO))
    with pytest.raises(ShardUnusable):
        put(disk, HELLO)
    assert put(disk, b"another")
    fault.code = None
    assert HELLO == read(disk, digest_of(HELLO))


def test_unreadable_shard_does_not_suspend_writes(open_disk):
    put(open_disk(), HELLO)
    fault = Fault(digest_of(HELLO).shard, errno.EIO)
    store = Store(open_disk(fault.calls), MD5, maybeDeferred)
    assert isinstance(outcome(store.open(digest_of(HELLO))), ShardUnusable)
    assert isinstance(outcome(send(store, HELLO)), ShardUnusable)
    assert (True, None) == (outcome(send(store, b"another")).created, store.degraded)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOTDIR], ids=errno.errorcode.get)
def test_store_is_not_opened_without_descriptors_or_shard_directory(place, code):
    prepare(place, "md5")
    with pytest.raises(UnusableStore, match="5d cannot be opened"):
        DiskBackend(place, MD5, Fault("5d", code).calls)


# --- quarantine ------------------------------------------------------------------------------


def test_corrupt_file_is_quarantined_with_a_reason_file(disk, place):
    put(disk, b"jello", name=digest_of(HELLO))
    put(disk, HELLO)
    kept, reason = sorted(os.listdir(place + "/quarantine"))
    assert (digest_of(HELLO).hex, kept + ".reason") == (kept.split(".")[0], reason)
    with open(f"{place}/quarantine/{kept}") as file, open(f"{place}/quarantine/{reason}") as why:
        assert ("jello", "its bytes do not have the md5 of its name\n") == (file.read(), why.read())


def test_repaired_file_is_not_quarantined(open_disk, disk, place):
    put(disk, b"jello", name=digest_of(HELLO))

    def heal_first(name, args):
        if name == "flock":
            put(disk, HELLO)

    assert put(open_disk(watched(heal_first)), HELLO) is False
    assert HELLO == read(disk, digest_of(HELLO))
    assert 2 == len(os.listdir(place + "/quarantine"))


def test_file_deleted_during_comparison_is_stored_again(open_disk, disk):
    put(disk, HELLO)
    linked = []

    def delete_behind(name, args):
        if name == "link":
            linked.append(name)
        if name == "open" and args[0] == digest_of(HELLO).hex and len(linked) == 1:
            disk.delete(digest_of(HELLO))

    assert put(open_disk(watched(delete_behind)), HELLO) is True
    assert HELLO == read(disk, digest_of(HELLO))


# --- free space ------------------------------------------------------------------------------


def space(total: int, free: int, inodes: int = 1000):
    """Return the status of a file system of that many bytes in blocks of 1 KiB."""
    return lambda descriptor: os.statvfs_result(
        (1024, 1024, total // 1024, 0, free // 1024, 9, 0, inodes, 0, 255)
    )


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("total", "free", "inodes", "expected"),
    [
        (10 * 1024 * MIB, 1024 * MIB, 5, 768 * MIB),
        (100 * 1024 * MIB, 2048 * MIB, 5, 1792 * MIB),
        (200 * MIB, 190 * MIB, 5, 180 * MIB),
        (1000 * MIB, 50 * MIB, 5, 0),
        (1024 * MIB, 0, 5, 0),
        (10 * 1024 * MIB, 1024 * MIB, 0, 0),
    ],
)
def test_free_space_is_reported_less_the_reserve(place, total, free, inodes, expected):
    disk = DiskBackend(place, prepare(place), Syscalls(fstatvfs=space(total, free, inodes)))
    assert expected == disk.free_space()
    disk.close()


@pytest.mark.parametrize(
    ("reserve", "expected"), [(0, 1024 * MIB), (1, 1024 * MIB - 1), (2048 * MIB, 0), (None, 768 * MIB)]
)
def test_reserve_option_replaces_the_default(place, reserve, expected):
    calls = Syscalls(fstatvfs=space(10 * 1024 * MIB, 1024 * MIB))
    disk = DiskBackend(place, prepare(place), calls, reserve)
    assert expected == disk.free_space()
    disk.close()


def test_file_deleted_since_it_was_listed_does_not_end_the_page(open_disk):
    """A page is filled from the files behind it: a shorter one would look like the last."""
    contents = [bytes([number]) for number in range(9)]
    digests = sorted(map(digest_of, contents), key=str)
    deleted: list[str] = []

    def delete_first(name, args):
        if name == "stat" and args[0] == digests[1].hex and not deleted:
            deleted.append(args[0])
            backend.delete(digests[1])

    backend = open_disk(watched(delete_first))
    for data in contents:
        put(backend, data)
    found = [each.digest for each in backend.entries(None, 4)]
    assert [digests[0], *digests[2:5]] == found
    assert [digests[1].hex] == deleted


def test_only_regular_files_are_described(disk, place):
    digest = digest_of(HELLO)
    os.mkdir(os.path.join(place, digest.shard, digest.hex))
    with pytest.raises(NotFound):
        disk.describe(digest)
    assert [] == disk.entries(None, 9)


def test_page_has_one_stat_for_each_of_its_files(open_disk):
    calls: list[str] = []
    backend = open_disk(watched(lambda name, _: calls.append(name)))
    for number in range(20):
        put(backend, bytes([number]))
    calls.clear()
    assert 5 == len(backend.entries(None, 5))
    assert 5 == calls.count("stat")


def test_shards_that_were_removed_are_empty(disk, place):
    put(disk, HELLO)
    for name in os.listdir(place):
        if len(name) == 2 and name != digest_of(HELLO).shard:
            os.rmdir(os.path.join(place, name))
    assert [digest_of(HELLO)] == [each.digest for each in disk.entries(None, 9)]


def test_closed_backend_reads_and_writes_nothing_of_the_next_one(tmp_path):
    first, second = (str(tmp_path / name) for name in ("first", "second"))
    closed = DiskBackend(first, prepare(first, "md5"))
    closed.close()
    with closing(DiskBackend(second, prepare(second, "md5"))) as other:  # it has the same descriptors
        put(other, HELLO)
        for call in (
            lambda: closed.open(digest_of(HELLO)),
            lambda: closed.entries(None, 9),
            lambda: closed.describe(digest_of(HELLO)),
            lambda: put(closed, b"other"),
            lambda: closed.delete(digest_of(HELLO)),
            closed.free_space,
        ):
            with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
                call()
        assert [digest_of(HELLO)] == other.digests(None, 9)
