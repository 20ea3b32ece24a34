"""Confirmed flushes: on XFS, fsync of a directory returns 0 after a shutdown of the file system."""

import dataclasses
import errno
import os
import stat

import pytest

from filestored.digest import algorithm
from filestored.errors import UnusableStore
from filestored.storage.disk import records
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare
from filestored.storage.disk.records import DiskRecords
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.migration.migrate import migrate
from tests.storage.contract import HELLO, MD5, digest_of, put


class Xfs:
    """A file system that shuts down at directory flush number `last`, counted from `arm`."""

    def __init__(self):
        self.last = self.count = -1
        self.shut = False
        self.calls = dataclasses.replace(
            Syscalls(), fsync=self._fsync, syncfs=self._syncfs, pread=self._pread
        )

    def arm(self, last):
        self.last, self.count = last, 0

    def _fsync(self, descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self.count += self.last >= 0
            self.shut = self.shut or self.count > self.last >= 0
        elif self.shut:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _syncfs(self, descriptor):
        if self.shut:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _pread(self, *args):
        if self.shut:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.pread(*args)


def upload(place, calls):
    disk = DiskBackend(place, MD5, calls, reserve=0)
    return lambda: put(disk, b"a new file"), disk


def delete(place, calls):
    disk = DiskBackend(place, MD5, calls, reserve=0)

    def act():
        assert disk.delete(digest_of(HELLO))
        disk.flush_names([digest_of(HELLO)])

    return act, disk


def heal(place, calls):
    """Upload content that replaces a corrupt file."""
    disk = DiskBackend(place, MD5, calls, reserve=0)
    return lambda: put(disk, b"hello too"), disk


def create(place, calls):
    kept = DiskRecords(f"{place}-records", calls)
    return lambda: kept.create("accounts/bob/account", b"bob"), kept


def replace(place, calls):
    kept = DiskRecords(f"{place}-records", calls)
    return lambda: kept.replace("accounts/anna/account", b"anna", b"anna again"), kept


def remove(place, calls):
    kept = DiskRecords(f"{place}-records", calls)
    return lambda: kept.remove("accounts/anna/account", b"anna"), kept


class NoProgress:
    def expect(self, files):
        pass

    def read(self, size):
        pass

    def close(self):
        pass


def move(place, calls):
    return lambda: migrate(place, "sha256", NoProgress(), calls), NoProgress()


def start(place, calls):
    return lambda: prepare(f"{place}-new", "md5", calls), NoProgress()


def start_records(place, calls):
    return lambda: records.prepare(f"{place}-new", "images", calls), NoProgress()


VERBS = (upload, delete, heal, create, replace, remove, move, start, start_records)


def furnished(place):
    """Create a store with one intact and one corrupt file, and records with one account."""
    prepare(place, "md5")
    records.prepare(f"{place}-records", "images")
    disk, kept = DiskBackend(place, MD5, reserve=0), DiskRecords(f"{place}-records")
    put(disk, HELLO)
    put(disk, b"other bytes", name=digest_of(b"hello too"))
    kept.create("accounts/anna/account", b"anna")
    disk.close()
    kept.close()


@pytest.mark.parametrize("trusted", [True, False], ids=["pread", "fsync"])
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_directory_flush_detects_a_file_system_shutdown(place, monkeypatch, verb, trusted):
    monkeypatch.setattr("filestored.storage.disk.directory.syncfs_is_reliable", lambda device: trusted)
    number, failures = 0, 0
    while True:
        xfs = Xfs()
        here = f"{place}{number}"
        furnished(here)
        act, opened = verb(here, xfs.calls)
        xfs.arm(number)
        try:
            act()
        except (OSError, UnusableStore):
            assert xfs.shut
            failures += 1
        else:
            assert not xfs.shut, "a success after the shutdown"
            break
        finally:
            opened.close()
        number += 1
    assert failures == number > 0


def test_syncfs_reports_a_file_system_shutdown(place):
    xfs = Xfs()
    furnished(place)
    disk = DiskBackend(place, algorithm("md5"), xfs.calls, reserve=0, batch_flush_min=1)
    disk.flush_all()
    xfs.shut = True
    with pytest.raises(OSError, match="Input/output error"):
        disk.flush_all()
    disk.close()
