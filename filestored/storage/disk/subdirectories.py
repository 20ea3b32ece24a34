"""Subdirectories of an open directory: opened by openat(2) one segment at a time, created durably, walked.

Segments are strings of `encode_name`; listings return text, and leave out names that are not UTF-8 on disk.

No step follows a symbolic link. Each opening is an open file of its own, as each lock (flock(2)) needs one.

Before a process first creates an entry in a directory it flushes all parent directories: the process that
created them may have died before its flush, and a power failure would lose everything below. Directories
removed since are created again, unless the root was removed.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from twisted.logger import Logger

from filestored.storage.disk.directory import StoreRoot
from filestored.storage.disk.syscalls import (
    DIRECTORY_FLAGS,
    Syscalls,
    closed_after,
    decode_name,
    encode_name,
)
from filestored.storage.health import FlushFailed, ReadFailed

_MAX_FLUSHED = 10_000
_MAX_REPORTED = 1_000


class Subdirectories:
    """The subdirectories of `root`. Blocking."""

    _log = Logger()

    def __init__(self, root: StoreRoot, calls: Syscalls) -> None:
        self._root = root
        self._calls = calls
        self._flushed: set[tuple[str, ...]] = set()
        self._reported: set[tuple[str, str]] = set()

    def open(self, segments: Sequence[str]) -> int:
        """Open a directory; return its descriptor. Raises `FileNotFoundError`, also if it is no directory."""
        directory = self._calls.open(".", DIRECTORY_FLAGS, dir_fd=self._root.descriptor)
        for segment in segments:
            with closed_after(directory) as above:
                directory = self._open_child(segment, above)
        return directory

    @contextmanager
    def opened(self, segments: Sequence[str]) -> Iterator[int]:
        """Open a directory for the context."""
        with closed_after(self.open(segments)) as directory:
            yield directory

    @contextmanager
    def ensured(self, segments: Sequence[str]) -> Iterator[int]:
        """Open a directory for the context; create it if missing. Raises `StoreMissing` or `OSError`."""
        try:
            directory = self._open_ensured(segments)
        except FileNotFoundError:
            self._root.check()
            self._flushed.clear()
            directory = self._open_ensured(segments)
        with closed_after(directory):
            yield directory

    def flush(self, directory: int) -> None:
        """Make the names in a directory durable. Raises `FlushFailed`; which are durable is unknown then."""
        try:
            self._root.flush(directory)
        except OSError as error:
            raise FlushFailed(error.errno, f"a directory could not be flushed: {error.strerror}") from error

    def walk(self, directory: int, prefix: str) -> Iterator[str]:
        """Yield all regular files below an open directory, with `prefix`. Raises `ReadFailed`."""
        found = self._list(directory, prefix)
        try:
            files = [name for name, entry in found if entry.is_file(follow_symlinks=False)]
            directories = [name for name, entry in found if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            raise ReadFailed.of(error, f"the directory {prefix}") from error
        for name in files:
            yield f"{prefix}/{name}"
        for name in directories:
            with closed_after(self._open_child(encode_name(name), directory)) as below:
                yield from self.walk(below, f"{prefix}/{name}")

    def files(self, directory: int, name: str) -> list[str]:
        """Return the regular files in the open directory `name`. Raises `ReadFailed`."""
        found = self._list(directory, name)
        return [text for text, entry in found if entry.is_file(follow_symlinks=False)]

    def entries(self, directory: int, name: str) -> list[str]:
        """Return all entries of the open directory `name`. Raises `ReadFailed`."""
        return [text for text, _ in self._list(directory, name)]

    def _list(self, directory: int, name: str) -> "list[tuple[str, os.DirEntry[str]]]":
        """Return names and entries of a directory, except those with a leading dot. Raises `ReadFailed`."""
        try:
            with self._calls.scandir(directory) as entries:
                found = [(decode_name(entry.name), entry) for entry in entries if entry.name[0] != "."]
        except OSError as error:
            raise ReadFailed.of(error, f"the directory {name}") from error
        for text, entry in found:
            if text is None:
                self._report(name, entry.name)
        return [(text, entry) for text, entry in found if text is not None]

    def _report(self, directory: str, name: str) -> None:
        """Log once that a name is left out."""
        if (directory, name) not in self._reported and len(self._reported) < _MAX_REPORTED:
            self._reported.add((directory, name))
            path = f"{directory}/{ascii(os.fsencode(name))[2:-1]}"
            self._log.warn("{path} is left out: its name is not UTF-8", path=path)

    def _open_child(self, segment: str, above: int) -> int:
        try:
            return self._calls.open(segment, DIRECTORY_FLAGS, dir_fd=above)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
            if error.errno == errno.ENOENT:
                raise
            raise ReadFailed.of(error, f"the directory {segment}") from error

    def _open_ensured(self, segments: Sequence[str]) -> int:
        for length in range(1, len(segments) + 1):
            self._ensure(tuple(segments[:length]))
        return self.open(segments)

    def _ensure(self, segments: tuple[str, ...]) -> None:
        if segments in self._flushed:
            return
        with self.opened(segments[:-1]) as above:
            with suppress(FileExistsError):
                self._calls.mkdir(segments[-1], 0o700, dir_fd=above)
            self.flush(above)
        if len(self._flushed) >= _MAX_FLUSHED:
            self._flushed.clear()
        self._flushed.add(segments)
