"""No order of the system calls of uploads, deletions and sweeps loses an acknowledged upload on a disk.

Code, files and locks are real; only the order is chosen.
"""

import dataclasses
import fcntl
import os
from contextlib import suppress

import pytest

from filestored.storage.disk.syscalls import Syscalls
from tests.storage.contract import HELLO, digest_of, put
from tests.storage.limits.interleavings import Scene, current, explore, note, pause, wait

DIGEST = digest_of(HELLO)
OLD, BEFORE = 1_000, 2_000
STEPS = ("open", "flock", "fstat", "stat", "utime", "link", "unlink", "rename")
"""Calls between which the actors are switched."""


def lock(descriptor: int, operation: int) -> None:
    """Lock a file; let the other actors run while it is locked."""
    while True:
        try:
            return fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if operation & fcntl.LOCK_NB:
                raise
            wait()


class Stage:
    """A store on a disk, in which each run begins with an expired file."""

    def __init__(self, open_disk, place, lock=lock):
        self.path = f"{place}/{DIGEST.shard}/{DIGEST.hex}"
        self.labels = {}
        calls = Syscalls(flock=lock)
        steps = {name: self._step(name, getattr(calls, name)) for name in STEPS}
        self.disk = open_disk(dataclasses.replace(calls, **steps))

    def _step(self, name, function):
        def step(*args, **kwargs):
            if current() is None:
                return function(*args, **kwargs)
            pause()
            try:
                result = function(*args, **kwargs)
            except OSError as error:
                note((name, error.errno))
                raise
            note((name, self._label(os.fstat(result) if name == "open" else result)))
            return result

        return step

    def _label(self, status):
        """Return a number for an inode, and whether it is old; None for other results."""
        if not isinstance(status, os.stat_result):
            return None
        return self.labels.setdefault(status.st_ino, len(self.labels)), status.st_mtime < BEFORE

    def state(self):
        with suppress(FileNotFoundError):
            return self._label(os.lstat(self.path))
        return None

    # --- actors ---------------------------------------------------------------------------------

    def upload(self):
        """Upload as a bucket with an expiry does."""
        sink = self.disk.begin()
        try:
            sink.write(HELLO)
            sink.seal()
            while not sink.renew(DIGEST, sink.publish(DIGEST)):
                pass
        finally:
            sink.discard()
        return True

    def sweep(self):
        self.disk.delete_expired(DIGEST, BEFORE)

    def delete_and_upload(self):
        self.disk.delete(DIGEST)
        return self.upload()

    # --- runs -----------------------------------------------------------------------------------

    def check(self, outcomes):
        if True in outcomes:
            assert os.path.exists(self.path), "an acknowledged upload is lost"
            assert os.stat(self.path).st_mtime >= BEFORE

    def orders(self, kinds, content=HELLO):
        def begin():
            self.labels.clear()
            with suppress(FileNotFoundError):
                os.unlink(self.path)
            put(self.disk, content, DIGEST)
            os.utime(self.path, (OLD, OLD))
            return Scene([getattr(self, kind) for kind in kinds], self.state, self.check)

        return explore(begin)


SCENES = {
    "upload and sweep": (("upload", "sweep"), HELLO),
    "two sweeps": (("upload", "sweep", "sweep"), HELLO),
    "a deletion before the upload": (("delete_and_upload", "sweep"), HELLO),
    "a damaged file": (("upload", "sweep"), b"rotten"),
}


@pytest.mark.parametrize("name", SCENES)
def test_no_order_of_calls_loses_an_acknowledged_upload(open_disk, place, name):
    assert Stage(open_disk, place).orders(*SCENES[name]) > 1


@pytest.mark.parametrize("name", SCENES)
def test_calls_without_locks_lose_an_upload(open_disk, place, name):
    with pytest.raises(AssertionError, match="an acknowledged upload is lost"):
        Stage(open_disk, place, lock=lambda *_: None).orders(*SCENES[name])
