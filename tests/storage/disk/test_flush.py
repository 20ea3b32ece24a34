"""Batch flush: order, failure, file systems without a reliable syncfs, and early writeback."""

import dataclasses
import errno
import os
import stat

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.errors import WritesSuspended
from filestored.storage.disk.syscalls import Syscalls, sync_file_range, syncfs, syncfs_is_reliable
from filestored.storage.disk.temp_files import WRITEBACK_BYTES
from filestored.storage.health import FlushFailed
from filestored.storage.store import Store
from tests.storage.contract import MD5, Workbench, digest_of, outcome, read, send, watched

CONTENTS = [b"%d" % number for number in range(20)]


class Ledger:
    """Records writes, flushes, links and replies, each with its file or name."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def note(self, name, args):
        if name == "write":
            self.events.append(("write", os.fstat(args[0]).st_ino))
        elif name == "fsync":
            status = os.fstat(args[0])
            kind = "flush names" if stat.S_ISDIR(status.st_mode) else "flush bytes"
            self.events.append((kind, status.st_ino))
        elif name == "syncfs":
            self.events.append(("flush all", None))
        elif name == "link":
            self.events += [("link file", os.stat(args[0]).st_ino), ("link name", args[1])]

    def answer(self, stored):
        self.events.append(("answer", stored.digest.hex))

    def is_durable(self) -> bool:
        """Return whether a flush came between each write and its link, and each link and its reply."""
        positions = range(len(self.events))
        return all(
            self._is_between("write", {"flush all", "flush bytes"}, position)
            if self.events[position][0] == "link file"
            else self._is_between("link name", {"flush all", "flush names"}, position)
            for position in positions
            if self.events[position][0] in {"link file", "answer"}
        )

    def _is_between(self, before, flushes, position) -> bool:
        which = self.events[position][1]
        since = max(at for at in range(position) if self.events[at] == (before, which))
        return any(self.events[at][0] in flushes for at in range(since, position))


def events_of(open_disk, calls=lambda calls: calls):
    """Return the events of uploads: single ones, a batch, and one more."""
    ledger, bench = Ledger(), Workbench()
    store = Store(open_disk(calls(watched(ledger.note)), batch_flush_min=1), MD5, bench)
    answers = [send(store, CONTENTS[0]).addCallback(ledger.answer)]
    bench.do_one()
    answers += [send(store, data).addCallback(ledger.answer) for data in (*CONTENTS[1:], CONTENTS[1])]
    bench.do_all()
    assert [None] * len(answers) == [outcome(answer) for answer in answers]
    return ledger


def test_batch_flush_precedes_names_and_names_precede_replies(open_disk):
    ledger = events_of(open_disk)
    assert ledger.is_durable()
    assert {"write", "flush all", "link file", "link name", "answer"} == {event for event, _ in ledger.events}


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_missing_flush_of_a_batch_is_detected(open_disk, number):
    """A batch without one of its flushes must not pass the check above."""

    def forget(calls: Syscalls) -> Syscalls:
        count = iter(range(100))
        return dataclasses.replace(
            calls, syncfs=lambda descriptor: None if next(count) == number else calls.syncfs(descriptor)
        )

    assert not events_of(open_disk, forget).is_durable()


def test_names_of_a_batch_are_flushed_with_the_next_batch(open_disk):
    flushes = []
    calls = watched(lambda name, args: flushes.append(name) if name in ("fsync", "syncfs") else None)
    bench = Workbench()
    store = Store(open_disk(calls, batch_flush_min=1), MD5, bench)
    answers = [send(store, CONTENTS[0])]
    for data in CONTENTS[1:]:
        answers.append(send(store, data))
        bench.do_one()
    bench.do_all()
    assert all(outcome(answer).created for answer in answers)
    assert ["syncfs"] * (len(CONTENTS) + 1) == flushes


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_failed_batch_flush_fails_all_uploads_and_suspends_writes(open_disk, code):
    def fail(name, args):
        if name == "syncfs":
            raise OSError(code, os.strerror(code))

    disk = open_disk(watched(fail), batch_flush_min=3)
    bench = Workbench()
    store = Store(disk, MD5, bench)
    alone = send(store, CONTENTS[0])
    bench.do_all()
    assert outcome(alone).created
    answers = [send(store, data) for data in CONTENTS[1:]]
    bench.do_all()
    assert {FlushFailed} == {type(outcome(answer)) for answer in answers}
    assert "could not be flushed" in store.degraded
    with pytest.raises(WritesSuspended):
        send(store, b"one more")
    assert {digest_of(CONTENTS[0]), digest_of(CONTENTS[1])} == set(disk.digests(None, 99))
    assert CONTENTS[0] == read(disk, digest_of(CONTENTS[0]))


def test_small_batch_is_flushed_file_by_file(open_disk):
    flushes = []
    calls = watched(lambda name, args: flushes.append(name) if name in ("fsync", "syncfs") else None)
    store = Store(open_disk(calls, batch_flush_min=3), MD5, maybeDeferred)
    assert outcome(send(store, b"alone")).created
    assert ["fsync", "fsync"] == flushes[-2:]


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
24 22 0:44 / /mnt/a\\040b rw master:1 shared:2 - fuse.sshfs host:/ rw
25 22 8:1 / /srv rw - xfs /dev/sda1 rw
26 22 0:50 / /dev/shm rw - tmpfs tmpfs rw
27 22 0:51 / /overlay rw - overlay overlay rw
"""


@pytest.mark.parametrize(
    ("device", "release", "expected"),
    [
        ((254, 0), "6.1.0-18-amd64", True),
        ((8, 1), "5.17.0", True),
        ((0, 50), "10.0", True),
        ((254, 0), "5.16.20", False),
        ((254, 0), "5.8.0", False),
        ((254, 0), "4.19.0", False),
        ((254, 0), "not a kernel", False),
        ((0, 44), "6.1.0", False),
        ((0, 51), "6.1.0", False),
        ((9, 9), "6.1.0", False),
    ],
)
def test_syncfs_is_reliable_by_file_system_and_kernel(device, release, expected):
    assert expected == syncfs_is_reliable(os.makedev(*device), release, MOUNTS)


@pytest.mark.parametrize("mounts", ["", "\n", "1\n", "x - ", " - ext4", "22 1 254:0 / / rw - "])
def test_syncfs_is_unreliable_for_an_unknown_mount(mounts):
    assert not syncfs_is_reliable(os.makedev(254, 0), "6.1.0", mounts)


def test_batch_flush_is_unused_if_syncfs_is_unreliable(open_disk, monkeypatch):
    monkeypatch.setattr("filestored.storage.disk.backend.syncfs_is_reliable", lambda device: False)
    assert not open_disk().is_worthwhile(10**6, [])


def test_syncfs_of_a_closed_descriptor_raises():
    with pytest.raises(OSError, match="Bad file descriptor"):
        syncfs(-1)


@pytest.mark.parametrize("fails", [False, True])
def test_writeback_of_a_large_file_starts_before_its_end(open_disk, fails):
    started = []

    def note(name, args):
        if name == "sync_file_range":
            started.append(args[1:])
            if fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        elif name == "fsync":
            started.append("fsync")

    data = os.urandom(1 << 20) * 20
    disk = open_disk(watched(note))
    sink = disk.begin()
    for _ in range(3):
        sink.write(data[: WRITEBACK_BYTES // 2])
    sink.write(data)
    sink.seal()
    sink.discard()
    assert [(0, WRITEBACK_BYTES), (WRITEBACK_BYTES, WRITEBACK_BYTES // 2 + len(data)), "fsync"] == started[
        -3:
    ]


def test_sync_file_range_of_a_closed_descriptor_raises():
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync_file_range(-1, 0, 1)
