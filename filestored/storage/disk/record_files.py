"""Files of records in an open directory: read, or locked if they have a certain value. Blocking.

A symbolic link, directory, FIFO or socket raises `FileNotFoundError`, as a missing name does, and as does a
removed record that was copied from an object store. An unreadable record raises `ReadFailed`.
"""

import errno
import os

from filestored.storage.disk.syscalls import FILE_FLAGS, NO_FILE_ERRNOS, Syscalls, closed_after
from filestored.storage.health import ReadFailed
from filestored.storage.removed_records import is_removed

MAX_RECORD_BYTES = 64 * 1024


class RecordFiles:
    """Reads and locks files of records by their names in a directory."""

    def __init__(self, calls: Syscalls) -> None:
        self._calls = calls

    def read(self, name: str, directory: int) -> bytes:
        """Return the bytes of a file. Raises `FileNotFoundError` or `ReadFailed`."""
        with closed_after(self._open(name, directory)) as descriptor:
            value = self._value(descriptor, name)
        if is_removed(value):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return value

    def read_removed(self, name: str, directory: int) -> bytes | None:
        """Return the value of a removed record; None for any other file, or none. Raises `ReadFailed`."""
        try:
            with closed_after(self._open(name, directory)) as descriptor:
                value = self._value(descriptor, name)
        except FileNotFoundError:
            return None
        return value if is_removed(value) else None

    def lock(self, name: str, directory: int, value: bytes, operation: int) -> int | None:
        """Return a descriptor of a file, locked by flock(2); None unless it has that value.

        The caller has locked the directory, so the value cannot change before. Raises `ReadFailed` or
        `OSError`.
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
            return self._calls.open(name, FILE_FLAGS, dir_fd=directory)
        except OSError as error:
            raise _unread(error, name) from None

    def _value(self, descriptor: int, name: str) -> bytes:
        try:
            return self._calls.pread(descriptor, MAX_RECORD_BYTES, 0)
        except OSError as error:
            raise _unread(error, name) from None


def _unread(error: OSError, name: str) -> OSError:
    """Return `FileNotFoundError` for a missing or non-regular file, else `ReadFailed`."""
    if error.errno in _NO_RECORD:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return ReadFailed.of(error, f"the record {name}")


_NO_RECORD = NO_FILE_ERRNOS | {errno.EISDIR, errno.ESPIPE}
"""Errors of open(2), and of pread(2) for a directory or a FIFO."""
