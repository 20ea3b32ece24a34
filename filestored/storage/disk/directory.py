"""A directory of ours: what stores of files and of records have in common.

It is a directory itself and no link to one, belongs to us, nobody else may write into it, and a
``FORMAT`` says what it holds. An empty one may be taken; one that is full of other things
is left alone.

The order decides a race: entries are listed before ``FORMAT`` is missed, and ``FORMAT`` is made before
anything else. Whoever lists something and then finds no ``FORMAT`` looks at somebody else's
directory.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from filestored.errors import StoreMissing, UnusableStore
from filestored.storage.disk import format_file
from filestored.storage.disk.syscalls import Syscalls, syncfs_is_reliable
from filestored.storage.disk.temp_files import DIRECTORY_FLAGS, TMP_DIR, TempFiles
from filestored.storage.health import UNFIT

Report = Callable[[OSError], None]
"""A function that is called with the error which kept a directory from being prepared."""


@contextmanager
def tolerated(report: Report | None) -> Iterator[None]:
    """Report an error of a full, read-only or damaged disk instead of raising it; None raises all."""
    try:
        yield
    except OSError as error:
        if report is None or error.errno not in UNFIT:
            raise
        report(error)


@contextmanager
def error_context(path: str, noun: str) -> Iterator[None]:
    """Say of which directory an error speaks, and turn those of the system into one line, too."""
    try:
        yield
    except UnusableStore as error:
        raise UnusableStore(f"the {noun} {path} cannot be used: {error}") from None
    except OSError as error:
        raise UnusableStore(f"the {noun} {path} cannot be used: {error.strerror or error}") from error


def open_directory(path: str) -> int:
    """Open a directory without following a link. Raises `UnusableStore` or `OSError`."""
    path = path.rstrip("/") or "/"
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        raise UnusableStore("it is a symbolic link; name the directory itself")
    if not stat.S_ISDIR(mode):
        raise UnusableStore("it is not a directory")
    return os.open(path, DIRECTORY_FLAGS)


@contextmanager
def ensure_directory(path: str, calls: Syscalls) -> Iterator[int]:
    """The descriptor of the directory at `path`, for a while; it is made if need be, and is ours."""
    if not os.path.lexists(path):
        with suppress(FileExistsError):
            calls.mkdir(path, 0o700)
    with held(path) as root:
        yield root


@contextmanager
def held(path: str) -> Iterator[int]:
    """The descriptor of the directory at `path`, for a while, which is ours. Raises `UnusableStore`."""
    root = open_directory(path)
    try:
        check_access(os.fstat(root), shedding=False)
        yield root
    finally:
        os.close(root)


def check_access(status: os.stat_result, *, shedding: bool) -> None:
    """Raise `UnusableStore` unless it is ours, and ours only; `shedding` root accepts any owner."""
    if status.st_uid != os.geteuid() and not shedding:
        raise UnusableStore(
            f"it belongs to user {status.st_uid}, and this process runs as user {os.geteuid()}"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        raise UnusableStore(f"others may write into it (mode {mode:04o}); chmod it to 0700")


def read_format(root: int, noun: str) -> format_file.StoreFormat | None:
    """Its format; None for an empty directory. Raises `UnusableStore` for one that is not ours to fill."""
    if found := format_file.read(root):
        return found
    strangers = [name for name in os.listdir(root) if not name.startswith(".") and name != TMP_DIR]
    found = format_file.read(root)
    if strangers and not found:
        raise UnusableStore(f"it is not empty and has no {format_file.NAME} file, so it is no {noun}")
    return found


def require_format(path: str, noun: str) -> None:
    """Raise `UnusableStore` unless there is a directory at `path` with a ``FORMAT``."""
    with error_context(path, noun):
        root = open_directory(path)
        try:
            if format_file.read(root) is None:
                missing = f"its {format_file.NAME} file is missing; it was removed or is not mounted"
                raise UnusableStore(missing)
        finally:
            os.close(root)


def initialize(root: int, path: str, contents: str, calls: Syscalls) -> None:
    """Make an empty directory ours: private, durable itself, and with a ``FORMAT`` that says `contents`."""
    calls.fchmod(root, 0o700)
    _flush_parent(path, calls)
    with closing(TempFiles(root, calls)) as temp_files:
        format_file.create(root, temp_files, contents)


def _flush_parent(path: str, calls: Syscalls) -> None:
    """Make the name of the directory itself durable, where we may read the one above.

    A later `StoreRoot.flush` confirms it: a name that is made here is on the same file system.
    """
    with suppress(PermissionError):
        parent = calls.open(os.path.dirname(os.path.abspath(path)), _ANY_DIRECTORY)
        try:
            calls.fsync(parent)
        finally:
            os.close(parent)


_ANY_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


# --- The directory of a store, held open with its ``FORMAT`` file: confirmed flushes, a check that it exists.


class StoreRoot:
    """The directory that is open as `descriptor`, which stays the caller's. Blocking. Close it in the end.

    Raises `OSError`; `FileNotFoundError` when there is no ``FORMAT``.
    """

    def __init__(self, descriptor: int, calls: Syscalls) -> None:
        self.descriptor = descriptor
        self._calls = calls
        self._format = calls.open(format_file.NAME, _WITNESS, dir_fd=descriptor)
        self._confirms_by_read = syncfs_is_reliable(os.fstat(descriptor).st_dev)

    def flush(self, *directories: int) -> None:
        """Make the names in these directories durable. Raises `OSError`: which names are is unknown then."""
        for directory in directories:
            self._calls.fsync(directory)
        if self._confirms_by_read:
            self._calls.pread(self._format, 1, 0)
        else:
            self._calls.fsync(self._format)

    def check(self) -> None:
        """Raise `StoreMissing` when the directory was removed, or its ``FORMAT`` was. May raise `OSError`."""
        try:
            self._calls.stat(format_file.NAME, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            raise StoreMissing from None

    def make(self, name: str) -> None:
        """Make a directory in this one, durably, unless it exists. Raises `StoreMissing` or `OSError`.

        A store that was removed is not made anew: that would put an empty one in the place of the files.
        """
        self.check()
        with suppress(FileExistsError):
            self._calls.mkdir(name, 0o700, dir_fd=self.descriptor)
        self.flush(self.descriptor)

    def close(self) -> None:
        """Close ``FORMAT``."""
        os.close(self._format)


def flush_root(root: int, calls: Syscalls) -> None:
    """Flush the directory `root`, which has a ``FORMAT``, once. Raises `OSError`."""
    with closing(StoreRoot(root, calls)) as held:
        held.flush(root)


_WITNESS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
