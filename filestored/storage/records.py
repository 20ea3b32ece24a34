"""Small named values on a disk, each a file that a person can read: ``accounts/anna/account``.

A value is written to a file without a name, flushed, and linked or renamed to its name, whose
directory is flushed then. So a name means a whole value, always, and a verb that has
returned has outlived the next power cut.

``create`` is decided by `linkat(2)`, which never replaces. ``replace`` and ``remove`` compare
first, so they hold a lock (`flock`) on the record's directory between look and leap. The kernel
lets go of it when its holder dies. Whoever holds it owns the name ``.next`` there, from which
a new value is renamed over the old; what a dead holder left of that is removed by the next one.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from zope.interface import implementer

from filestored.errors import UnusableStore
from filestored.interfaces import IRecords
from filestored.storage import format as formats
from filestored.storage.calls import Calls
from filestored.storage.folders import Folders
from filestored.storage.health import ReadFailed
from filestored.storage.premises import check_access, explained, made, open_directory, read_format, take
from filestored.storage.root import StoreRoot, flush_root
from filestored.storage.scratch import DIRECTORY, Scratch, Workshop
from filestored.storage.sink import READ_ONLY

LIMIT = 64 * 1024
"""Bytes of one value at most."""

MODE = 0o400
"""A value is the business of the daemon's user alone, and never changed in place."""

_NEXT = ".next"


def inspect(path: str, contents: str) -> None:
    """Look, without touching, whether `contents` may be kept at `path`. Raises `UnusableStore`."""
    with explained(path, "directory"):
        try:
            root = open_directory(path)
        except FileNotFoundError:
            return
        try:
            check_access(os.fstat(root), shedding=os.geteuid() == 0)
            _agree(read_format(root, "place for records"), contents)
        finally:
            os.close(root)


def prepare(path: str, contents: str, calls: Calls | None = None) -> None:
    """Make the directory at `path` a place for records about `contents`. Blocking. Raises `UnusableStore`.

    Any number of processes may do so at once.
    """
    calls = calls or Calls()
    with explained(path, "directory"), made(path, calls) as root:
        if not read_format(root, "place for records"):
            take(root, path, contents, calls)
        _agree(formats.read(root), contents)
        flush_root(root, calls)
        with closing(Workshop(root, calls)) as workshop:
            workshop.sweep()


def split(name: str) -> list[str]:
    """The segments of a record's name. Raises `ValueError` when it is none."""
    segments = name.split("/")
    for segment in segments:
        if not segment or segment.startswith(".") or "\0" in segment or len(os.fsencode(segment)) > 255:
            raise ValueError(f"{name!r} is not the name of a record")
    return segments


@implementer(IRecords)
class DiskRecords:
    """The records below the directory `path`, which `prepare` has made ready. Close it in the end."""

    def __init__(self, path: str, calls: Calls | None = None) -> None:
        self._calls = calls or Calls()
        with ExitStack() as opened:
            root = self._calls.open(path, DIRECTORY)
            opened.callback(os.close, root)
            self._root = StoreRoot(root, self._calls)
            opened.callback(self._root.close)
            self._workshop = Workshop(root, self._calls)
            opened.callback(self._workshop.close)
            self._opened = opened.pop_all()
        self._folders = Folders(self._root, self._calls)

    def create(self, name: str, value: bytes) -> bool:
        """Link a file with the value to its name, unless there is one."""
        *above, last = split(name)
        with self._new(value) as scratch, self._folders.made(above) as directory:
            try:
                scratch.link(last, directory)
            except FileExistsError:
                return False
            self._folders.flush(directory)
            return True

    def replace(self, name: str, old: bytes, new: bytes) -> bool:
        """Rename a file with the new value over the old one."""
        with self._new(new) as scratch, self._locked(name, old) as (directory, last):
            if last is None:
                return False
            with suppress(FileNotFoundError):
                self._calls.unlink(_NEXT, dir_fd=directory)
            scratch.link(_NEXT, directory)
            self._calls.rename(_NEXT, last, src_dir_fd=directory, dst_dir_fd=directory)
            self._folders.flush(directory)
            return True

    def remove(self, name: str, old: bytes) -> bool:
        """Unlink the file."""
        with self._locked(name, old) as (directory, last):
            if last is None:
                return False
            self._calls.unlink(last, dir_fd=directory)
            self._folders.flush(directory)
            return True

    def read(self, name: str) -> bytes | None:
        """One open, one read; what is no regular file is not there. Raises `StoreMissing` or `ReadFailed`."""
        *above, last = split(name)
        try:
            with self._folders.opened(above) as directory:
                return self._read(last, directory)
        except FileNotFoundError:
            self._root.check()
            return None

    def names(self, prefix: str) -> list[str]:
        """All files below a directory."""
        segments = split(prefix)
        try:
            with self._folders.opened(segments) as directory:
                return sorted(self._folders.walk(directory, prefix))
        except FileNotFoundError:
            self._root.check()
            return []

    def close(self) -> None:
        """Let go of the directory. Nothing may be under way any more."""
        self._opened.close()

    @contextmanager
    def _new(self, value: bytes) -> Iterator[Scratch]:
        """A durable file with a value and without a name."""
        assert len(value) <= LIMIT, "a record is small"
        try:
            scratch = self._workshop.open()
        except OSError:
            self._root.check()
            raise
        try:
            scratch.write(value)
            scratch.seal(MODE)
            yield scratch
        finally:
            scratch.discard()

    @contextmanager
    def _locked(self, name: str, old: bytes) -> Iterator[tuple[int, str | None]]:
        """The record's directory, locked, and its name there; no name when it does not hold `old`."""
        *above, last = split(name)
        try:
            directory = self._folders.open(above)
        except FileNotFoundError:
            yield -1, None
            return
        try:
            self._calls.flock(directory, fcntl.LOCK_EX)
            yield directory, last if self._held(last, directory) == old else None
        finally:
            os.close(directory)

    def _held(self, last: str, directory: int) -> bytes | None:
        try:
            return self._read(last, directory)
        except FileNotFoundError:
            return None

    def _read(self, last: str, directory: int) -> bytes:
        """The bytes of a file. Raises `FileNotFoundError`, also for what is none."""
        try:
            descriptor = self._calls.open(last, READ_ONLY, dir_fd=directory)
            try:
                return self._calls.pread(descriptor, LIMIT, 0)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _NO_FILE:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
            raise ReadFailed.of(error, f"the record {last}") from error


def _agree(found: formats.Format | None, contents: str) -> None:
    if found is not None and found.hash != contents:
        raise UnusableStore(f"it is a store of files named by {found.hash}, and not a place for {contents}")


_NO_FILE = {errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ESPIPE}
"""A symbolic link; a socket; a directory; a FIFO."""
