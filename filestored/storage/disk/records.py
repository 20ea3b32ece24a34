"""Records on a disk: small named values, each a readable file such as ``accounts/anna/account``.

A value is written to a temp file, flushed, and linked or renamed to its name; then the directory is flushed.
So a name always has a whole value, and a change is durable when its method returns.

`held` takes a shared lock on the file of a record; ``replace`` and ``remove`` take an exclusive one while
they hold that of the directory. So they wait for current holders, and new holders, which need the directory's
lock, wait for them: a stream of holders cannot starve a change.

``create`` is decided by linkat(2), which never replaces. ``replace`` and ``remove`` compare first, so they
hold a lock (flock(2)) on the directory meanwhile. The kernel releases it when its process dies. Its holder
owns the name ``.next``, from which a new value is renamed; a leftover of a dead process is removed by the
next holder.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from zope.interface import implementer

from filestored.errors import UnusableStore
from filestored.interfaces import IRecords
from filestored.storage.disk import format_file
from filestored.storage.disk.directory import (
    Report,
    StoreRoot,
    error_context,
    flush_root,
    initialized,
    inspect,
    opened,
    tolerated,
)
from filestored.storage.disk.record_files import MAX_RECORD_BYTES, RecordFiles
from filestored.storage.disk.subdirectories import Subdirectories
from filestored.storage.disk.syscalls import DIRECTORY_FLAGS, Syscalls, encode_name
from filestored.storage.disk.temp_files import TempFile, TempFiles
from filestored.storage.health import LACKING, ReadFailed

RECORD_MODE = 0o400
"""Mode of a record: readable by the daemon's user only, never changed in place."""

_NEXT = ".next"
_NOUN = "place for records"


def check(path: str, contents: str) -> None:
    """Raise `UnusableStore` unless records about `contents` may be kept at `path`. Changes nothing."""
    with error_context(path, "directory"):
        _check_contents(inspect(path, _NOUN), contents)


def prepare(
    path: str,
    contents: str,
    calls: Syscalls | None = None,
    report: Report | None = None,
    must_exist: bool = False,
) -> None:
    """Prepare the directory at `path` for records about `contents`. Blocking. Raises `UnusableStore`.

    Any number of processes may do so at once. `report` is called when an existing directory can be read but
    not written to; with None that is an error. A directory that `must_exist` is not created.
    """
    calls = calls or Syscalls()
    with (
        error_context(path, "directory"),
        initialized(path, _NOUN, contents, calls, must_exist=must_exist) as (root, found, existed),
    ):
        _check_contents(found, contents)
        with tolerated(report if existed else None):
            _prepare_open(root, calls)


def repair(path: str, calls: Syscalls | None = None) -> None:
    """Probe the directory of records at `path`. Blocking. Raises `UnusableStore`."""
    with error_context(path, "directory"), opened(path) as root:
        _prepare_open(root, calls or Syscalls())


def _prepare_open(root: int, calls: Syscalls) -> None:
    flush_root(root, calls)
    with closing(TempFiles(root, calls)) as temp_files:
        temp_files.open().discard()
        temp_files.remove_stale()


def split(name: str) -> list[str]:
    """Return the segments of a record name, as `encode_name`. Raises `ValueError` for an invalid name."""
    segments = name.split("/")
    for segment in segments:
        if not segment or segment.startswith(".") or "\0" in segment or len(segment.encode("utf-8")) > 255:
            raise ValueError(f"{name!r} is not the name of a record")
    return [encode_name(segment) for segment in segments]


@implementer(IRecords)
class DiskRecords:
    """The records below a prepared directory. The caller closes it."""

    def __init__(self, path: str, calls: Syscalls | None = None) -> None:
        self._calls = calls or Syscalls()
        with ExitStack() as stack:
            root = self._calls.open(path, DIRECTORY_FLAGS)
            stack.callback(os.close, root)
            self._root = StoreRoot(root, self._calls)
            stack.callback(self._root.close)
            self._temp_files = TempFiles(root, self._calls)
            stack.callback(self._temp_files.close)
            self._opened = stack.pop_all()
        self._directories = Subdirectories(self._root, self._calls)
        self._files = RecordFiles(self._calls)

    def create(self, name: str, value: bytes) -> bool:
        """Link a file with the value to its name, unless it exists."""
        *above, last = split(name)
        with self._new(value) as temp_file, self._directories.ensured(above) as directory:
            try:
                temp_file.link(last, directory)
            except FileExistsError:
                removed = self._files.read_removed(last, directory)
                return removed is not None and self.replace(name, removed, value)
            self._directories.flush(directory)
            return True

    def replace(self, name: str, old: bytes, new: bytes) -> bool:
        """Rename a file with the new value over the old one."""
        with self._new(new) as temp_file, self._locked(name, old) as (directory, last):
            if last is None:
                return False
            with suppress(FileNotFoundError):
                self._calls.unlink(_NEXT, dir_fd=directory)
            temp_file.link(_NEXT, directory)
            self._calls.rename(_NEXT, last, src_dir_fd=directory, dst_dir_fd=directory)
            self._directories.flush(directory)
            return True

    def remove(self, name: str, old: bytes) -> bool:
        """Unlink the file."""
        with self._locked(name, old) as (directory, last):
            if last is None:
                return False
            self._calls.unlink(last, dir_fd=directory)
            self._directories.flush(directory)
            return True

    def read(self, name: str) -> bytes | None:
        """Read the file; anything but a regular file is missing. Raises `StoreMissing` or `ReadFailed`."""
        *above, last = split(name)
        with self._missing_allowed(), self._directories.opened(above) as directory:
            return self._files.read(last, directory)
        return None

    @contextmanager
    def held(self, name: str, value: bytes) -> Iterator[bool]:
        """Hold a shared lock (flock(2)) on the file."""
        descriptor = self._share(name, value)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def read_all(self, prefix: str) -> Iterator[tuple[str, bytes | None]]:
        """List the directory, then open and read each file."""
        with self._missing_allowed(), self._directories.opened(split(prefix)) as directory:
            for last in self._directories.files(directory, prefix):
                with suppress(FileNotFoundError):  # it was removed meanwhile
                    yield last, self._read_if_possible(encode_name(last), directory)

    def entries(self, prefix: str) -> list[str]:
        """List the directory, symbolic links included."""
        with self._missing_allowed(), self._directories.opened(split(prefix)) as directory:
            return sorted(self._directories.entries(directory, prefix))
        return []

    def names(self, prefix: str) -> list[str]:
        """List all files below the directory."""
        with self._missing_allowed(), self._directories.opened(split(prefix)) as directory:
            return sorted(self._directories.walk(directory, prefix))
        return []

    def is_empty(self, prefix: str) -> bool:
        """Return whether the directory holds empty directories and files of removed records only."""
        with self._missing_allowed(), self._directories.opened(split(prefix)) as directory:
            return all(
                self._files.read_removed(encode_name(last), directory) or self.is_empty(f"{prefix}/{last}")
                for last in self._directories.entries(directory, prefix)
            )
        return False

    def close(self) -> None:
        """Close the directory. No call may be running."""
        self._opened.close()

    @contextmanager
    def _missing_allowed(self) -> Iterator[None]:
        """Suppress `FileNotFoundError`, unless the whole directory was removed: raises `StoreMissing`."""
        try:
            yield
        except FileNotFoundError:
            self._root.check()

    def _read_if_possible(self, last: str, directory: int) -> bytes | None:
        """Read a record; None when it is unreadable. Raises `FileNotFoundError` or `ReadFailed`."""
        try:
            return self._files.read(last, directory)
        except ReadFailed as error:
            if error.errno in LACKING:
                raise
            return None

    @contextmanager
    def _new(self, value: bytes) -> Iterator[TempFile]:
        """Write a value to a durable temp file."""
        assert len(value) <= MAX_RECORD_BYTES, "a record is small"
        try:
            temp_file = self._temp_files.open()
        except OSError:
            self._root.check()
            raise
        try:
            temp_file.write(value)
            temp_file.seal(mode=RECORD_MODE)
            yield temp_file
        finally:
            temp_file.discard()

    @contextmanager
    def _locked(self, name: str, old: bytes) -> Iterator[tuple[int, str | None]]:
        """Yield the locked directory of a record, and its last segment; None unless its value is `old`."""
        *above, last = split(name)
        try:
            directory = self._directories.open(above)
        except FileNotFoundError:
            self._root.check()
            yield -1, None
            return
        with ExitStack() as stack:
            stack.callback(os.close, directory)
            self._calls.flock(directory, fcntl.LOCK_EX)
            descriptor = self._files.lock(last, directory, old, fcntl.LOCK_EX)
            if descriptor is not None:
                stack.callback(os.close, descriptor)
            yield directory, None if descriptor is None else last

    def _share(self, name: str, value: bytes) -> int | None:
        """Return a descriptor with a shared lock on the record; None unless it has that value."""
        *above, last = split(name)
        with self._missing_allowed(), self._directories.opened(above) as directory:
            self._calls.flock(directory, fcntl.LOCK_SH)
            return self._files.lock(last, directory, value, fcntl.LOCK_SH)
        return None


def _check_contents(found: format_file.StoreFormat | None, contents: str) -> None:
    if found is not None and found.hash != contents:
        raise UnusableStore(f"it is a store of files named by {found.hash}, and not a place for {contents}")
