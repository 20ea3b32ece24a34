"""Temp files: without a name (O_TMPFILE), or locked in `tmp/`; stale files; early writeback."""

import errno
import os

import pytest

from filestored.storage.disk.layout import prepare
from filestored.storage.disk.temp_files import WRITEBACK_BYTES
from tests.storage.contract import (
    HELLO,
    digest_of,
    files_below,
    put,
    watched,
    without_tmpfile,
)

NAME = "5d/5d41402abc4b2a76b9719d911017c592"


def test_without_o_tmpfile_a_temp_file_is_locked_and_removed(open_disk, place):
    disk = open_disk(without_tmpfile())
    sink = disk.begin()
    sink.write(HELLO)
    assert ["tmp"] == [os.path.dirname(name) for name in files_below(place)]
    prepare(place)  # another worker starts and removes stale temp files
    sink.seal()
    sink.publish(digest_of(HELLO))
    sink.discard()
    assert [NAME] == files_below(place)


def test_remove_stale_removes_only_names_of_temp_files(place):
    prepare(place)
    os.mkdir(f"{place}/tmp")
    kept = ("notes.txt", "0" * 31, "0" * 33, "A" * 32)
    for name in (*kept, "0a" * 16):
        with open(f"{place}/tmp/{name}", "wb"):
            pass
    prepare(place)
    assert sorted(kept) == sorted(os.listdir(f"{place}/tmp"))


def test_temp_file_removed_before_its_lock_is_created_again(open_disk, place):
    swept = []

    def sweep_once(name, args):
        if name == "flock" and not swept:
            swept.append(True)
            prepare(place)

    disk = open_disk(without_tmpfile(watched(sweep_once)))
    assert put(disk, HELLO)
    assert ([True], [NAME]) == (swept, files_below(place))


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
