"""Where files go that turned out to be bad: ``quarantine/``, with the reason beside them.

A suspect comes in by its shard directory and name, and leaves that name free for good bytes.
Nothing is ever deleted here by the daemon: what a file was, and when it rotted, is evidence
that belongs to the operator.

A file that is good but belongs to nothing may come back: `set_aside` gives it a place that its name
tells, and `recover` moves it from there to its shard.

Two uploads may find the same bad file at once, in two processes. The second must not carry
off the good file that the first has put in its place, so whoever moves holds a lock on
the directory and looks again whether the name still means the suspect.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filestored.storage.disk.directory import StoreRoot
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.disk.temp_files import DIRECTORY_FLAGS

QUARANTINE = "quarantine"
"""The name of the directory."""

_REASON = ".reason"
_ASIDE = ".orphan"


class Quarantine:
    """The quarantine of the store in `root`. Blocking."""

    def __init__(self, root: StoreRoot, calls: Syscalls) -> None:
        self._root = root
        self._calls = calls

    def move_in(self, suspect: os.stat_result, name: str, shard: int, reason: str) -> bool:
        """Move `suspect` out of `shard`; False when `name` means another file by now.

        The name is durably in quarantine then; that it left the shard is for the next flush of
        the shard to make durable. Raises `OSError`.
        """
        with self._locked() as quarantine:
            if not self._is_still(suspect, name, shard):
                return False
            self._move(name, f"{name}.{secrets.token_hex(4)}", shard, quarantine, reason)
            return True

    def set_aside(self, name: str, shard: int, reason: str) -> bool:
        """Move the regular file `name` out of `shard`; False when there is none.

        Both directories are durable then. Raises `OSError`.
        """
        with self._locked() as quarantine:
            new_name = name + _ASIDE
            if not self._is_file(name, shard) or self._is_file(new_name, quarantine):
                return False
            with suppress(FileNotFoundError):  # left by a crash between reason and move
                self._calls.unlink(new_name + _REASON, dir_fd=quarantine)
            self._move(name, new_name, shard, quarantine, reason)
            self._root.flush(shard)
            return True

    def recover(self, name: str, shard: int) -> bool:
        """Move back what `set_aside` has moved, and remove its reason; False when it is not there.

        A file that has the name by now is not replaced: False, too. Raises `OSError`.
        """
        with self._locked() as quarantine:
            new_name = name + _ASIDE
            try:
                self._calls.link(
                    new_name, name, src_dir_fd=quarantine, dst_dir_fd=shard, follow_symlinks=False
                )
            except (FileNotFoundError, FileExistsError):
                return False
            self._root.flush(shard)
            for done in (new_name, new_name + _REASON):
                with suppress(FileNotFoundError):
                    self._calls.unlink(done, dir_fd=quarantine)
            return True

    def _move(self, name: str, new_name: str, shard: int, quarantine: int, reason: str) -> None:
        self._write_reason(new_name, reason, quarantine)
        self._calls.rename(name, new_name, src_dir_fd=shard, dst_dir_fd=quarantine)
        self._root.flush(quarantine)

    def _is_file(self, name: str, directory: int) -> bool:
        try:
            status = self._calls.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return stat.S_ISREG(status.st_mode)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The directory, opened anew: a lock taken twice on one open file is taken once."""
        quarantine = self._open()
        try:
            self._calls.flock(quarantine, fcntl.LOCK_EX)
            yield quarantine
        finally:
            os.close(quarantine)

    def _open(self) -> int:
        """The directory, made anew if it was removed. Raises `StoreMissing` or `OSError`."""
        try:
            return self._calls.open(QUARANTINE, DIRECTORY_FLAGS, dir_fd=self._root.descriptor)
        except FileNotFoundError:
            self._root.make(QUARANTINE)
            return self._calls.open(QUARANTINE, DIRECTORY_FLAGS, dir_fd=self._root.descriptor)

    def _is_still(self, suspect: os.stat_result, name: str, shard: int) -> bool:
        try:
            now = self._calls.stat(name, dir_fd=shard, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return _identity(now) == _identity(suspect)

    def _write_reason(self, new_name: str, reason: str, quarantine: int) -> None:
        name = new_name + _REASON
        descriptor = self._calls.open(name, _CREATE, 0o440, dir_fd=quarantine)
        try:
            self._calls.write(descriptor, reason.encode() + b"\n")
            self._calls.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                self._calls.unlink(name, dir_fd=quarantine)
            raise
        finally:
            os.close(descriptor)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode)


_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
