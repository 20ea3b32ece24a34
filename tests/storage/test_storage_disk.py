"""What is special about files on a disk: names, modes, flushes, and things that somebody planted."""

import dataclasses
import errno
import os
import socket
import stat

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
    without_tmpfile,
)

NAME = "5d/5d41402abc4b2a76b9719d911017c592"


def test_a_file_rests_where_its_hash_says(disk, place):
    put(disk, HELLO)
    assert [NAME] == files_below(place)
    with open(f"{place}/{NAME}", "rb") as file:
        assert HELLO == file.read()
    assert 0o100440 == os.stat(f"{place}/{NAME}").st_mode


def test_an_upload_under_way_is_no_file_at_all(disk, place):
    sink = disk.begin()
    sink.write(HELLO)
    assert [] == files_below(place)
    sink.discard()


def test_without_o_tmpfile_an_upload_is_a_locked_file_that_goes_away(open_disk, place):
    disk = open_disk(without_tmpfile())
    sink = disk.begin()
    sink.write(HELLO)
    assert ["tmp"] == [os.path.dirname(name) for name in files_below(place)]
    prepare(place)  # another worker starts, and sweeps
    sink.seal()
    sink.publish(digest_of(HELLO))
    sink.discard()
    assert [NAME] == files_below(place)


def test_a_sweep_of_tmp_removes_only_names_of_scratch_files(place):
    prepare(place)
    os.mkdir(f"{place}/tmp")
    kept = ("notes.txt", "0" * 31, "0" * 33, "A" * 32)
    for name in (*kept, "0a" * 16):
        with open(f"{place}/tmp/{name}", "wb"):
            pass
    prepare(place)
    assert sorted(kept) == sorted(os.listdir(f"{place}/tmp"))


def test_without_o_tmpfile_a_sweep_that_is_faster_than_the_lock_costs_a_second_try(open_disk, place):
    swept = []

    def sweep_once(name, args):
        if name == "flock" and not swept:
            swept.append(True)
            prepare(place)

    disk = open_disk(without_tmpfile(watched(sweep_once)))
    assert put(disk, HELLO)
    assert ([True], [NAME]) == (swept, files_below(place))


# --- the order of the flushes ----------------------------------------------------------------


def kind_of(descriptor):
    """Whether this is a directory, the file ``FORMAT``, or another file."""
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        return "directory"
    return "FORMAT" if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/FORMAT") else "file"


def diary(open_disk, calls=None):
    """What a small upload and its answer come to, in order."""
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
    """Whether bytes were flushed before their name was given, and the name before the answer."""
    expected = ["write", "fchmod", "flush file", "link", "flush directory", "confirm", "answer"]
    return expected == log


def forgetting(kind: str):
    """Calls of a build that has lost one of its flushes."""

    def forget(calls: Syscalls) -> Syscalls:
        def fsync(descriptor: int) -> None:
            if kind_of(descriptor) != kind:
                calls.fsync(descriptor)

        def pread(descriptor: int, *more: int) -> bytes:
            return b"{" if kind_of(descriptor) == kind else calls.pread(descriptor, *more)

        return dataclasses.replace(calls, fsync=fsync, pread=pread)

    return forget


def test_bytes_are_durable_before_their_name_and_both_before_the_answer(open_disk):
    assert is_durable(diary(open_disk))


@pytest.mark.parametrize("flush", ["file", "directory", "FORMAT"])
def test_a_build_that_forgets_a_flush_is_found_out(open_disk, flush):
    assert not is_durable(diary(open_disk, forgetting(flush)))


def test_bytes_that_were_there_already_are_flushed_by_name_all_the_same(open_disk, disk):
    put(disk, HELLO)
    log = diary(open_disk)
    assert ["flush directory", "confirm", "answer"] == log[-3:]


def test_one_settle_flushes_each_shard_once(open_disk):
    flushed: list[int] = []
    disk = open_disk(watched(lambda name, args: flushed.append(args[0]) if name == "fsync" else None))
    disk.flush_names(digest_of(b"%d" % number) for number in range(5000))
    assert len(SHARD_NAMES) == len(flushed) == len(set(flushed))


# --- things that somebody planted ------------------------------------------------------------


def plant(kind: str, path: str) -> None:
    """Put something under a name where only regular files belong."""
    if kind == "symlink":
        os.symlink("/etc/passwd", path)
    elif kind == "dangling symlink":
        os.symlink("/nowhere", path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    else:
        here = os.getcwd()
        os.chdir(os.path.dirname(path))  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.basename(path))
        os.chdir(here)


MEDIA_TYPES = ("symlink", "dangling symlink", "fifo", "directory", "socket")


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_what_is_no_regular_file_is_not_there(disk, place, kind):
    plant(kind, f"{place}/{NAME}")
    with pytest.raises(NotFound):
        disk.open(digest_of(HELLO))
    assert [] == disk.digests(None, 10)


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_an_upload_moves_what_was_planted_aside(disk, place, kind):
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


def test_a_directory_with_the_name_of_a_file_is_not_deleted(disk, place):
    os.mkdir(f"{place}/{NAME}")
    assert disk.delete(digest_of(HELLO)) is False
    assert os.path.isdir(f"{place}/{NAME}")


def test_a_shard_that_is_a_symbolic_link_is_refused(place):
    prepare(place, "md5")
    os.rmdir(place + "/5d")
    os.symlink("/tmp", place + "/5d")
    with pytest.raises(UnusableStore, match="5d"):
        DiskBackend(place, MD5)


def test_a_shard_on_another_file_system_is_refused(place):
    prepare(place, "md5")

    def elsewhere(path, flags, *args, **kwargs):
        return os.open("/proc" if path == "5d" else path, flags, *args, **kwargs)

    with pytest.raises(UnusableStore, match="5d is on another"):
        DiskBackend(place, MD5, Syscalls(open=elsewhere))


class Fault:
    """Calls whose `open` of one shard fails, while `code` is set."""

    def __init__(self, shard: str, code: int | None) -> None:
        self.shard, self.code = shard, code
        self.calls = watched(self._fail)

    def _fail(self, name, args):
        if name == "open" and args[0] == self.shard and self.code:
            raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
def test_a_shard_that_cannot_be_opened_answers_errors_alone_until_it_can(open_disk, code):
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


def test_a_shard_that_fails_does_not_suspend_writing(open_disk):
    put(open_disk(), HELLO)
    fault = Fault(digest_of(HELLO).shard, errno.EIO)
    store = Store(open_disk(fault.calls), MD5, maybeDeferred)
    assert isinstance(outcome(store.open(digest_of(HELLO))), ShardUnusable)
    assert isinstance(outcome(send(store, HELLO)), ShardUnusable)
    assert (True, None) == (outcome(send(store, b"another")).created, store.degraded)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOTDIR], ids=errno.errorcode.get)
def test_a_store_is_not_opened_without_descriptors_or_on_a_shard_that_is_no_directory(place, code):
    prepare(place, "md5")
    with pytest.raises(UnusableStore, match="5d cannot be opened"):
        DiskBackend(place, MD5, Fault("5d", code).calls)


# --- quarantine ------------------------------------------------------------------------------


def test_a_rotten_file_is_kept_with_the_reason_beside_it(disk, place):
    put(disk, b"jello", name=digest_of(HELLO))
    put(disk, HELLO)
    kept, reason = sorted(os.listdir(place + "/quarantine"))
    assert (digest_of(HELLO).hex, kept + ".reason") == (kept.split(".")[0], reason)
    with open(f"{place}/quarantine/{kept}") as file, open(f"{place}/quarantine/{reason}") as why:
        assert ("jello", "its bytes do not have the md5 of its name\n") == (file.read(), why.read())


def test_a_file_that_was_healed_meanwhile_is_not_carried_off(open_disk, disk, place):
    put(disk, b"jello", name=digest_of(HELLO))

    def heal_first(name, args):
        if name == "flock":
            put(disk, HELLO)

    assert put(open_disk(watched(heal_first)), HELLO) is False
    assert HELLO == read(disk, digest_of(HELLO))
    assert 2 == len(os.listdir(place + "/quarantine"))


def test_a_file_that_is_deleted_while_it_is_compared_is_stored_anew(open_disk, disk):
    put(disk, HELLO)
    linked = []

    def delete_behind(name, args):
        if name == "link":
            linked.append(name)
        if name == "open" and args[0] == digest_of(HELLO).hex and len(linked) == 1:
            disk.delete(digest_of(HELLO))

    assert put(open_disk(watched(delete_behind)), HELLO) is True
    assert HELLO == read(disk, digest_of(HELLO))


# --- room ------------------------------------------------------------------------------------


def space(total: int, free: int, inodes: int = 1000):
    """A file system of that many bytes in blocks of 1 KiB."""
    return lambda descriptor: os.statvfs_result(
        (1024, 1024, total // 1024, 0, free // 1024, 9, 0, inodes, 0, 255)
    )


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("total", "free", "inodes", "expected"),
    [
        (10 * 1024 * MIB, 1024 * MIB, 5, 768 * MIB),
        (100 * 1024 * MIB, 2048 * MIB, 5, 1024 * MIB),
        (1024 * MIB, 256 * MIB, 5, 0),
        (1024 * MIB, 0, 5, 0),
        (10 * 1024 * MIB, 1024 * MIB, 0, 0),
    ],
)
def test_a_reserve_is_always_kept_free(place, total, free, inodes, expected):
    disk = DiskBackend(place, prepare(place), Syscalls(fstatvfs=space(total, free, inodes)))
    assert expected == disk.free_space()
    disk.close()
