"""Files of records in a directory that is open: read, and locked if they have a certain value. Blocking.

A symbolic link, a directory, a FIFO and a socket are no records: they raise `FileNotFoundError`, as a name
that does not exist. A record that cannot be read raises `ReadFailed`.
"""

import errno
import os

from filestored.storage.disk.sink import OPEN_FLAGS
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.health import ReadFailed

MAX_RECORD_BYTES = 64 * 1024
"""Bytes of one value at most."""


class RecordFiles:
    """Reads the files of records by their names in a directory, through `calls`."""

    def __init__(self, calls: Syscalls) -> None:
        self._calls = calls

    def read(self, name: str, directory: int) -> bytes:
        """Return the bytes of a file. Raises `FileNotFoundError` or `ReadFailed`."""
        descriptor = self._open(name, directory)
        try:
            return self._value(descriptor, name)
        finally:
            os.close(descriptor)

    def lock(self, name: str, directory: int, value: bytes, operation: int) -> int | None:
        """Return a descriptor of a file, locked by `flock(2)`; None when it does not have that value.

        The directory is locked by the caller, so the value does not change before the lock is there. Raises
        `ReadFailed` or `OSError`.
        """
        try:
            descriptor = self._open(name, directory)
        except FileNotFoundError:
            return None
        try:
            if self._value(descriptor, name) == value:
                self._calls.flock(descriptor, operation)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _open(self, name: str, directory: int) -> int:
        try:
            return self._calls.open(name, OPEN_FLAGS, dir_fd=directory)
        except OSError as error:
            raise _unread(error, name) from None

    def _value(self, descriptor: int, name: str) -> bytes:
        try:
            return self._calls.pread(descriptor, MAX_RECORD_BYTES, 0)
        except OSError as error:
            raise _unread(error, name) from None


def _unread(error: OSError, name: str) -> OSError:
    """Return `FileNotFoundError` for what does not exist or is no regular file, else `ReadFailed`."""
    if error.errno in _NO_FILE:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return ReadFailed.of(error, f"the record {name}")


_NO_FILE = {errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ESPIPE}
"""Does not exist; a symbolic link; a socket; a directory; a FIFO."""
