"""Quarantine: corrupt files, each with a file that states the reason, in ``quarantine/``.

A file moves in by shard and name, and leaves its name free for valid content. The daemon never deletes
anything here: what a file was, and when it became corrupt, is evidence for the operator.

An intact but unreferenced file, an orphan, can be restored: `move_orphan` gives it a predictable name, from
which `restore_orphan` moves it back.

Two processes may find the same corrupt file at once. The second one must not move the valid replacement, so a
move locks the directory and checks that the name still leads to the same file.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filestored.storage.disk.directory import StoreRoot
from filestored.storage.disk.syscalls import CREATE_FLAGS, DIRECTORY_FLAGS, Syscalls, closed_after

QUARANTINE = "quarantine"

REASON = ".reason"
"""Suffix of the file with the reason, behind the name in quarantine."""

_ASIDE = ".orphan"


class Quarantine:
    """The quarantine of the store in `root`. Blocking."""

    def __init__(self, root: StoreRoot, calls: Syscalls) -> None:
        self._root = root
        self._calls = calls

    def move_in(self, suspect: os.stat_result, name: str, shard: int, reason: str) -> bool:
        """Move the file with the status `suspect` out of `shard`; return False if `name` was replaced.

        Durable in quarantine on return; its removal from the shard is after the next flush of the shard.
        Raises `OSError`.
        """
        with self._locked() as quarantine:
            now = self._stat(name, shard)
            if now is None or _identity(now) != _identity(suspect):
                return False
            self._move(name, f"{name}.{secrets.token_hex(4)}", shard, quarantine, reason)
            return True

    def move_orphan(self, name: str, shard: int, reason: str) -> bool:
        """Move a regular file out of `shard`, durably; return False if there is none. Raises `OSError`."""
        with self._locked() as quarantine:
            new_name = name + _ASIDE
            if not self._is_file(name, shard) or self._is_file(new_name, quarantine):
                return False
            with suppress(FileNotFoundError):  # left by a crash
                self._calls.unlink(new_name + REASON, dir_fd=quarantine)
            self._move(name, new_name, shard, quarantine, reason)
            self._root.flush(shard)
            return True

    def restore_orphan(self, name: str, shard: int) -> bool:
        """Move a file of `move_orphan` back, durably, and remove its reason.

        Returns False when it is not in quarantine, or when the name exists. Raises `OSError`.
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
            for done in (new_name, new_name + REASON):
                with suppress(FileNotFoundError):
                    self._calls.unlink(done, dir_fd=quarantine)
            return True

    def _move(self, name: str, new_name: str, shard: int, quarantine: int, reason: str) -> None:
        self._write_reason(new_name, reason, quarantine)
        self._calls.rename(name, new_name, src_dir_fd=shard, dst_dir_fd=quarantine)
        self._root.flush(quarantine)

    def _is_file(self, name: str, directory: int) -> bool:
        status = self._stat(name, directory)
        return status is not None and stat.S_ISREG(status.st_mode)

    def _stat(self, name: str, directory: int) -> os.stat_result | None:
        try:
            return self._calls.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Open and lock the directory; each lock needs an open file of its own (flock(2))."""
        with closed_after(self._open()) as quarantine:
            self._calls.flock(quarantine, fcntl.LOCK_EX)
            yield quarantine

    def _open(self) -> int:
        """Open the directory; create it if it was removed. Raises `StoreMissing` or `OSError`."""
        try:
            return self._calls.open(QUARANTINE, DIRECTORY_FLAGS, dir_fd=self._root.descriptor)
        except FileNotFoundError:
            self._root.make(QUARANTINE)
            return self._calls.open(QUARANTINE, DIRECTORY_FLAGS, dir_fd=self._root.descriptor)

    def _write_reason(self, new_name: str, reason: str, quarantine: int) -> None:
        name = new_name + REASON
        descriptor = self._calls.open(name, CREATE_FLAGS, 0o440, dir_fd=quarantine)
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
