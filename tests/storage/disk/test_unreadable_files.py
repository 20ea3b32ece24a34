"""Unreadable objects: each can be deleted or repaired, and writes are not suspended."""

import dataclasses
import errno
import os

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.digest import algorithm
from filestored.errors import Overloaded, StoreMissing
from filestored.interfaces import UploadResult
from filestored.storage.disk.aliases import open_aliases
from filestored.storage.disk.directory import StoreRoot
from filestored.storage.disk.records import DiskRecords, prepare
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.health import FlushFailed, Health, ReadFailed
from filestored.storage.store import Store
from tests.storage.contract import HELLO, MD5, digest_of, outcome, put, read, send, watched

NAME = digest_of(HELLO)
CODES = (errno.EIO, errno.EBADMSG, errno.EACCES)


class BadSector:
    """System calls; those named by `failing` fail for one file while `inode` is set."""

    def __init__(self, place, failing, code=errno.EIO):
        self.path = f"{place}/{NAME.shard}/{NAME.hex}"
        self.inode = None
        self._failing, self._code = failing, code
        self.calls = watched(self._watch)

    def strike(self):
        self.inode = os.stat(self.path).st_ino

    def _watch(self, name, args):
        if name in self._failing and self._inode(args[0]) == self.inode is not None:
            raise OSError(self._code, os.strerror(self._code))

    def _inode(self, what):
        path = what if isinstance(what, int) else os.path.join(os.path.dirname(self.path), what)
        try:
            return os.stat(path).st_ino
        except OSError:
            return None


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("failing", [("open",), ("pread",)], ids=lambda names: names[0])
def test_upload_repairs_an_unreadable_file(open_disk, place, failing, code):
    sector = BadSector(place, failing, code)
    store = Store(open_disk(sector.calls), MD5, maybeDeferred)
    assert outcome(send(store, HELLO)).created
    sector.strike()
    assert outcome(send(store, HELLO)) == UploadResult(NAME, len(HELLO), True)
    assert store.degraded is None
    assert HELLO == read(open_disk(), NAME)
    kept, reason = sorted(os.listdir(f"{place}/quarantine"))
    with open(f"{place}/quarantine/{reason}") as why:
        assert (f"it cannot be read: {os.strerror(code)}\n", True) == (why.read(), kept.startswith(NAME.hex))


@pytest.mark.parametrize("failing", [("open",), ("pread",), ("open", "pread", "fstat")], ids=str)
def test_unreadable_file_is_deleted_without_suspending_writes(open_disk, place, failing):
    sector = BadSector(place, failing)
    health = Health()
    store = Store(open_disk(sector.calls), MD5, maybeDeferred, health=health)
    outcome(send(store, HELLO))
    sector.strike()
    opened = outcome(store.open(NAME))
    if not isinstance(opened, OSError):
        opened.close()
    assert outcome(send(store, b"something else")).created
    assert outcome(store.delete(NAME)) is True
    assert store.degraded is None


def test_failed_quarantine_of_an_unreadable_file_is_a_write_error(open_disk, place):
    sector = BadSector(place, ("open", "rename"))
    store = Store(open_disk(sector.calls), MD5, maybeDeferred)
    outcome(send(store, HELLO))
    sector.strike()
    assert errno.EIO == outcome(send(store, HELLO)).errno
    assert "Input/output error" in store.degraded
    assert HELLO == read(open_disk(), NAME)


def test_lack_of_descriptors_quarantines_nothing(open_disk, place):
    sector = BadSector(place, ("open",), errno.EMFILE)
    store = Store(open_disk(sector.calls), MD5, maybeDeferred)
    outcome(send(store, HELLO))
    sector.strike()
    assert isinstance(outcome(send(store, HELLO)), Overloaded)
    assert ([], None) == (os.listdir(f"{place}/quarantine"), store.degraded)


@pytest.mark.parametrize("failing", ["open", "pread", "scandir"])
def test_unreadable_record_does_not_suspend_writes(tmp_path, failing):
    struck = []

    def fail(name, args):
        if struck and name == failing and (name != "open" or args[0] == "account"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    place = str(tmp_path / "records")
    prepare(place, "images")
    kept = DiskRecords(place, watched(fail))
    kept.create("accounts/anna/account", b"anna")
    struck.append(True)
    verbs = {
        "read": lambda: kept.read("accounts/anna/account"),
        "replace": lambda: kept.replace("accounts/anna/account", b"anna", b"bob"),
        "remove": lambda: kept.remove("accounts/anna/account", b"anna"),
        "names": lambda: kept.names("accounts"),
        "entries": lambda: kept.entries("accounts"),
        "read_all": lambda: list(kept.read_all("accounts/anna")),
    }
    listings = ["names", "entries", "read_all"]
    for name in listings if failing == "scandir" else ["read", "replace", "remove"]:
        with pytest.raises(ReadFailed, match="account") as failure:
            verbs[name]()
        health = Health()
        assert health.classify(failure.value) is failure.value
        assert (None, 1) == (health.degraded, health.unreadable)
    kept.close()


@pytest.mark.parametrize("failing", ["open", "pread"])
def test_read_all_continues_after_an_unreadable_record(tmp_path, failing):
    code = errno.EIO
    kept = _records_of_anna(tmp_path, failing, lambda: code)
    assert {"one": b"1", "two": None} == dict(kept.read_all("accounts/anna"))
    code = errno.EMFILE
    with pytest.raises(ReadFailed) as failure:
        list(kept.read_all("accounts/anna"))
    assert errno.EMFILE == failure.value.errno
    kept.close()


def _records_of_anna(tmp_path, failing, code):
    """Return the records ``one`` and ``two``; for the latter the call `failing` fails with `code()`."""
    bad = []

    def fail(name, args):
        if name == "open" and args[0] == "two" and not args[1] & os.O_CREAT:
            bad[:] = ["open"]
        elif name == "open":
            bad.clear()
        if name == failing and bad:
            raise OSError(code(), os.strerror(code()))

    prepare(str(tmp_path / "records"), "images")
    kept = DiskRecords(str(tmp_path / "records"), watched(fail))
    kept.create("accounts/anna/one", b"1")
    kept.create("accounts/anna/two", b"2")
    return kept


def test_unreadable_alias_file_does_not_suspend_writes(open_disk, place):
    open_disk()
    root = os.open(place, os.O_RDONLY)

    def fail(name, args):
        if name == "open" and args[0] == "md5":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    calls = watched(fail)
    held = StoreRoot(root, calls)
    os.mkdir(f"{place}/aliases")
    with pytest.raises(ReadFailed, match="aliases/md5") as failure:
        open_aliases(held, algorithm("md5"), algorithm("sha256"), calls)
    health = Health()
    health.classify(failure.value)
    assert (None, 1) == (health.degraded, health.unreadable)
    held.close()
    os.close(root)


@pytest.mark.parametrize(
    ("error", "judged", "degraded", "unreadable"),
    [
        (ReadFailed(errno.EIO, "a"), ReadFailed, False, 1),
        (ReadFailed(errno.EMFILE, "a"), Overloaded, False, 0),
        (FlushFailed(errno.EIO, "a"), FlushFailed, True, 0),
        (OSError(errno.EIO, "a"), OSError, True, 0),
        (StoreMissing(), StoreMissing, True, 0),
    ],
    ids=repr,
)
def test_health_distinguishes_failed_reads_from_failed_writes(error, judged, degraded, unreadable):
    health = Health()
    assert isinstance(health.classify(error), judged)
    assert (degraded, unreadable) == (health.degraded is not None, health.unreadable)


# --- files and directories of other users -----------------------------------------------------


@pytest.mark.parametrize("mode", [0o6777, 0o4440, 0o644, 0o600, 0o440], ids=oct)
def test_upload_corrects_the_mode_of_an_existing_file(disk, place, mode):
    path = f"{place}/{NAME.shard}/{NAME.hex}"
    with open(path, "wb") as file:
        file.write(HELLO)
    os.chmod(path, mode)
    assert put(disk, HELLO) is False
    assert 0o100440 == os.stat(path).st_mode
    assert [] == os.listdir(f"{place}/quarantine")


def test_upload_replaces_a_file_of_another_user(open_disk, place):
    disk = open_disk()
    put(disk, HELLO)
    inode = os.stat(f"{place}/{NAME.shard}/{NAME.hex}").st_ino
    theirs = os.geteuid() + 1
    original = os.fstat

    def fstat(descriptor):
        status = original(descriptor)
        if status.st_ino != inode:
            return status
        fields = list(status)
        fields[4] = theirs
        return os.stat_result(fields)

    assert put(open_disk(dataclasses.replace(Syscalls(), fstat=fstat)), HELLO) is True
    assert inode != os.stat(f"{place}/{NAME.shard}/{NAME.hex}").st_ino
    (reason,) = (name for name in os.listdir(f"{place}/quarantine") if name.endswith(".reason"))
    with open(f"{place}/quarantine/{reason}") as why:
        assert f"it belongs to user {theirs}\n" == why.read()


@pytest.mark.parametrize(("mode", "expected"), [(0o777, 0o755), (0o2770, 0o2750), (0o750, 0o750)])
def test_write_permission_of_others_is_removed_from_a_shard(open_disk, place, mode, expected):
    disk = open_disk()
    put(disk, HELLO)
    os.chmod(f"{place}/{NAME.shard}", mode)
    assert HELLO == read(open_disk(), NAME)
    assert expected == os.stat(f"{place}/{NAME.shard}").st_mode & 0o7777
