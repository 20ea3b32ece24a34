"""Watcher of the access file over a disk that fails for a while."""

import errno
import os
from collections.abc import Callable
from queue import SimpleQueue

import pytest
from twisted.logger import capturedLogs

from filestored.access import watcher
from filestored.access.access_file import read_text
from filestored.access.watcher import AccessWatcher
from tests.access.wire.access_files import Token, access_text, write_access

FIRST, SECOND = access_text(Token("anna", {})), access_text(Token("bert", {}))
CHECKS = 5


class Thread:
    """A reactor that calls at once."""

    def callFromThread(self, function: Callable[..., None], *arguments: object) -> None:
        function(*arguments)


class Disk:
    """Reads files, or fails with `error`; `reads` gets an item for each read."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self.reads: SimpleQueue[None] = SimpleQueue()

    def read_text(self, path: str) -> str:
        self.reads.put(None)
        if self.error is not None:
            raise self.error
        return read_text(path)


@pytest.fixture
def disk(monkeypatch) -> Disk:
    """The disk of the file, which is compared all the time."""
    disk = Disk()
    monkeypatch.setattr(watcher, "CHECK_SECONDS", 0.001)
    monkeypatch.setattr(watcher, "read_text", disk.read_text)
    return disk


@pytest.fixture
def used(disk, tmp_path):
    """The texts that a watcher of ``rules.toml`` uses after the first one."""
    path = write_access(str(tmp_path / "rules.toml"), FIRST)
    used: SimpleQueue[str] = SimpleQueue()
    watched = AccessWatcher(Thread(), path, used.put)
    assert FIRST == watched.read()
    watched.start()
    yield used
    watched.stop()


def test_version_that_the_disk_did_not_give_is_read_again_and_is_one_error(disk, used, tmp_path):
    with capturedLogs() as events:
        disk.error = OSError(errno.EIO, os.strerror(errno.EIO))
        write_access(str(tmp_path / "rules.toml"), SECOND)
        for _ in range(CHECKS):
            disk.reads.get(timeout=10)
        disk.error = None
        assert SECOND == used.get(timeout=10)
    assert 1 == len([event for event in events if "Input/output error" in event.get("reason", "")])


def test_path_that_leads_nowhere_is_one_error(used, tmp_path, monkeypatch):
    path, calls = str(tmp_path / "rules.toml"), SimpleQueue()
    stat = os.stat

    def counted(name, *args, **kwargs):
        if name == path:
            calls.put(None)
        return stat(name, *args, **kwargs)

    with capturedLogs() as events:
        os.unlink(path)
        os.symlink("rules.toml", path)
        monkeypatch.setattr(os, "stat", counted)
        for _ in range(CHECKS):
            calls.get(timeout=10)
        write_access(path, SECOND)
        assert SECOND == used.get(timeout=10)
    assert 1 == len([event for event in events if "symbolic links" in event.get("reason", "")])
