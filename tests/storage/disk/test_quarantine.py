"""Quarantine of unreferenced files, and their restoration: no file is lost or replaced."""

import errno
import os
import time

import pytest
from zope.interface.verify import verifyObject

from filestored.errors import NotFound
from filestored.interfaces import IQuarantine
from tests.storage.contract import HELLO, digest_of, files_below, put, read, watched
from tests.storage.object_stores import LOCAL

NAME = digest_of(HELLO)
REASON = "nothing refers to it"

# --- the contract --------------------------------------------------------------------------------


def test_backends_provide_iquarantine(backend):
    assert verifyObject(IQuarantine, backend)


def test_quarantined_file_is_restored_unchanged(backend):
    put(backend, HELLO)
    assert [True, False] == [backend.move_to_quarantine(NAME, REASON) for _ in range(2)]
    with pytest.raises(NotFound):
        backend.open(NAME)
    assert [] == backend.digests(None, 10)
    assert [True, False] == [backend.restore(NAME) for _ in range(2)]
    assert HELLO == read(backend, NAME)


def test_missing_file_is_neither_quarantined_nor_restored(backend):
    assert (False, False) == (backend.move_to_quarantine(NAME, REASON), backend.restore(NAME))
    with pytest.raises(NotFound):
        backend.changed_at(NAME)


def test_restore_replaces_no_file(backend):
    put(backend, HELLO)
    backend.move_to_quarantine(NAME, REASON)
    put(backend, HELLO)
    assert not backend.restore(NAME)
    assert HELLO == read(backend, NAME)
    backend.delete(NAME)
    assert backend.restore(NAME)
    assert HELLO == read(backend, NAME)


@pytest.mark.parametrize("backend", LOCAL, indirect=True)
def test_quarantine_replaces_no_file(backend):
    """In an object store a copy stays in quarantine after `restore`; the next one replaces it."""
    for _ in range(2):
        put(backend, HELLO)
        moved = backend.move_to_quarantine(NAME, REASON)
    assert not moved
    assert HELLO == read(backend, NAME)


def test_changed_at_is_the_time_of_storing(backend):
    before = time.time() - 1
    put(backend, HELLO)
    assert before < backend.changed_at(NAME) < time.time() + 1


# --- the disk ------------------------------------------------------------------------------------


def test_reason_file_is_removed_by_restore(disk, place):
    put(disk, HELLO)
    disk.move_to_quarantine(NAME, REASON)
    aside = f"quarantine/{NAME}.orphan"
    assert [aside, f"{aside}.reason"] == files_below(place)
    with open(f"{place}/{aside}.reason") as file:
        assert f"{REASON}\n" == file.read()
    disk.restore(NAME)
    assert [f"{NAME.shard}/{NAME}"] == files_below(place)


def test_changed_at_of_a_copied_file_is_the_time_of_the_copy(disk, place):
    put(disk, HELLO)
    os.utime(f"{place}/{NAME.shard}/{NAME}", (0, 0))
    assert time.time() - 60 < disk.changed_at(NAME)


@pytest.mark.parametrize("planted", ["symlink", "directory", "fifo"])
def test_non_regular_file_is_not_quarantined(disk, place, planted):
    path = f"{place}/{NAME.shard}/{NAME}"
    {"symlink": lambda: os.symlink("/", path), "directory": lambda: os.mkdir(path)}.get(
        planted, lambda: os.mkfifo(path)
    )()
    assert not disk.move_to_quarantine(NAME, REASON)
    assert os.path.lexists(path)


def test_quarantine_flushes_both_directories(open_disk):
    calls = []
    disk = open_disk(watched(lambda name, args: calls.append(name)))
    put(disk, HELLO)
    for move, expected in (
        (lambda: disk.move_to_quarantine(NAME, REASON), ["fsync", "rename", "fsync", "fsync"]),
        (lambda: disk.restore(NAME), ["link", "fsync", "unlink", "unlink"]),
    ):
        calls.clear()
        move()
        found = [name for name in calls if name in {"fsync", "rename", "link", "unlink"}]
        assert expected == (found[1:] if found[0] == "unlink" else found)


@pytest.mark.parametrize("move", ["move_to_quarantine", "restore"])
@pytest.mark.parametrize("dies", [True, False], ids=["death", "EIO"])
def test_crash_or_error_at_any_call_of_a_move_loses_no_file(open_disk, move, dies):
    disk = open_disk()
    site, ended = 0, False
    while not ended:
        disk.restore(NAME)
        put(disk, HELLO)
        if move == "restore":
            disk.move_to_quarantine(NAME, REASON)
        ended = _interrupted(open_disk, move, site, dies)
        disk.restore(NAME)
        assert HELLO == read(disk, NAME)
        assert disk.move_to_quarantine(NAME, REASON) or _is_doubled(disk)
        disk.restore(NAME)
        assert HELLO == read(disk, NAME)
        disk.delete(NAME)
        disk.restore(NAME)
        site += 1
    assert site > 4


def _is_doubled(disk):
    """Return whether a crash between link and unlink left the file in both places."""
    disk.delete(NAME)
    return disk.restore(NAME)


def _interrupted(open_disk, move, site, dies):
    """Move a file in a process whose call number `site` kills it or fails; return whether it completed."""
    child = os.fork()
    if child == 0:
        count = -1

        def act(*_):
            nonlocal count
            count += armed
            if count == site:
                if dies:
                    os._exit(9)
                raise OSError(errno.EIO, "as told")

        armed = False
        backend = open_disk(watched(act))
        armed = True
        try:
            backend.move_to_quarantine(NAME, REASON) if move == "move_to_quarantine" else backend.restore(
                NAME
            )
        except BaseException:
            os._exit(9)
        os._exit(0 if count < site else 9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
