"""Destinations of a download: ``FILE.part``, which becomes FILE, or standard output."""

import fcntl
import os
import stat
import sys
from contextlib import suppress
from typing import Protocol

from filestored.client.errors import FileError, TransferError
from filestored.client.hash_thread import BLOCK_BYTES
from filestored.client.progress import Transfer
from filestored.digest import Hasher

PART_SUFFIX = ".part"
"""Suffix of the file of a download that is not complete."""


class Output(Protocol):
    """Destination of a download. `size` is the number of bytes that it has."""

    size: int

    def update(self, hashers: list[Hasher], transfer: Transfer) -> None:
        """Hash the bytes of an earlier run."""

    def write(self, data: memoryview) -> None:
        """Append bytes. Raises `FileError`."""

    def restart(self) -> None:
        """Drop all bytes. Raises `TransferError` if that is impossible."""

    def publish(self) -> None:
        """Flush the bytes and give them their name."""

    def discard(self) -> str:
        """Remove wrong bytes; return a text about that."""

    def close(self) -> None:
        """Close the file; a part remains."""


class PartFile:
    """``FILE.part``, locked; a part of an earlier run is continued."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._part = path + PART_SUFFIX
        self._descriptor = _open_locked(self._part)
        self._published = False
        self.size = os.fstat(self._descriptor).st_size

    def update(self, hashers: list[Hasher], transfer: Transfer) -> None:
        """Hash the bytes of an earlier run."""
        space = memoryview(bytearray(BLOCK_BYTES))
        offset = 0
        while size := os.preadv(self._descriptor, [space], offset):
            for hasher in hashers:
                hasher.update(space[:size])
            transfer.advance(size)
            offset += size

    def write(self, data: memoryview) -> None:
        """Append bytes. Raises `FileError`."""
        try:
            while data:
                size = os.pwrite(self._descriptor, data, self.size)
                self.size += size
                data = data[size:]
        except OSError as error:
            raise FileError.of(error) from None

    def restart(self) -> None:
        """Drop all bytes."""
        os.ftruncate(self._descriptor, 0)
        self.size = 0

    def publish(self) -> None:
        """Flush the bytes, and rename the file."""
        os.fsync(self._descriptor)
        os.rename(self._part, self._path)
        self._published = True
        directory = os.open(os.path.dirname(self._path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def discard(self) -> str:
        """Remove the part."""
        os.unlink(self._part)
        return f"{self._part} is removed"

    def close(self) -> None:
        """Close the part; an empty one is removed."""
        if not (self.size or self._published):
            with suppress(OSError):
                os.unlink(self._part)
        os.close(self._descriptor)


_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MODE = 0o666  # less the umask, as all new files


def _open_locked(path: str) -> int:
    """Open or create a part for this process only. Raises `FileError` and `OSError`."""
    while True:
        descriptor = os.open(path, _FLAGS, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(descriptor)
            _check(path, found)
            if _is_same(path, found):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise FileError(f"another process writes {path}") from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # another process has just renamed it


def _check(path: str, found: os.stat_result) -> None:
    """Raise `FileError` for a part that another user can write to, or that has another name."""
    if not stat.S_ISREG(found.st_mode):
        raise FileError(f"{path} is not a regular file")
    if found.st_size and (found.st_uid != os.geteuid() or found.st_nlink > 1):
        raise FileError(f"{path} belongs to another user, or has another name; remove it")


def _is_same(path: str, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), found)
    except FileNotFoundError:
        return False


class StandardOutput:
    """Standard output: bytes that were written cannot be taken back."""

    def __init__(self) -> None:
        self.size = 0

    def update(self, hashers: list[Hasher], transfer: Transfer) -> None:
        """Nothing is there before."""

    def write(self, data: memoryview) -> None:
        """Write bytes. Raises `FileError`."""
        try:
            while data:
                size = os.write(sys.stdout.fileno(), data)
                self.size += size
                data = data[size:]
        except OSError as error:
            raise FileError.of(error) from None

    def restart(self) -> None:
        """Raise `TransferError`, unless nothing is written."""
        if self.size:
            raise TransferError("the server does not continue the file; a part of it was written")

    def publish(self) -> None:
        """Nothing is left to do."""

    def discard(self) -> str:
        """Return a text about the bytes that were written."""
        return "do not use the output"

    def close(self) -> None:
        """Leave standard output open."""
