"""Directories of filestored: ownership, mode and ``FORMAT``, shared by stores of files and of records.

Such a directory is no symbolic link, belongs to the daemon's user, is writable by no other, and has a
``FORMAT`` that states its contents. An empty directory may be initialized, also the root of a new volume
(`VOLUME_NAMES`); a directory with other contents is left alone.

The order decides races: entries are listed before ``FORMAT`` is read again, and ``FORMAT`` is created first.
So entries without a ``FORMAT`` belong to something else.

`StoreRoot` keeps the directory open together with its ``FORMAT``, for confirmed flushes and to detect its
removal.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress

from filestored.digest import SHARD_DIGITS, Digest
from filestored.errors import StoreMissing, UnknownAlgorithm, UnusableStore
from filestored.storage.disk import format_file
from filestored.storage.disk.syscalls import (
    DIRECTORY_FLAGS,
    FILE_FLAGS,
    Syscalls,
    closed_after,
    syncfs_is_reliable,
)
from filestored.storage.disk.temp_files import TMP_DIR, TempFiles
from filestored.storage.health import UNFIT

VOLUME_NAMES = frozenset({TMP_DIR, "lost+found", "System Volume Information", "$RECYCLE.BIN"})
"""Names in a directory that counts as empty, besides hidden ones: those of a new volume."""

CLOSED = -1
"""Descriptor of a closed directory: each system call fails with EBADF."""

Report = Callable[[OSError], None]
"""Called with the error that prevents the preparation of a directory."""


@contextmanager
def tolerated(report: Report | None) -> Iterator[None]:
    """Report errors of a full, read-only or damaged disk instead of raising them; with None raise them."""
    try:
        yield
    except OSError as error:
        if report is None or error.errno not in UNFIT:
            raise
        report(error)


@contextmanager
def error_context(path: str, noun: str) -> Iterator[None]:
    """Convert errors within the context to `UnusableStore` with the path of the directory."""
    try:
        yield
    except (UnusableStore, UnknownAlgorithm) as error:
        raise type(error)(f"the {noun} {path} cannot be used: {error}") from None
    except OSError as error:
        raise UnusableStore(f"the {noun} {path} cannot be used: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    """Return the reason and advice for an error of preparing a directory."""
    if error.filename2 is not None and error.errno in _NO_LINKS:
        return "its file system has no hard links, as exFAT; name a directory on ext4, XFS or Btrfs"
    if error.filename2 is not None and not os.path.isdir("/proc/self/fd"):
        return "/proc is not mounted, through which new files are linked; mount it"
    if error.filename is None and error.errno == errno.EPERM:
        return "its file system keeps no modes (fchmod), as vfat; name a directory on ext4, XFS or Btrfs"
    return f"{error.strerror or error}{_ADVICE.get(error.errno or 0, '')}"


_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
"""Errors of linkat(2) on a file system without hard links."""

_ADVICE = {
    errno.EACCES: "; let the user of this process reach it, or name another path",
    errno.EROFS: "; mount it writable, or name another path",
    errno.ENOSPC: "; free some space and inodes",
    errno.EDQUOT: "; raise the quota of its user",
    errno.EMFILE: "; raise the limit of open files (ulimit -n)",
}
"""Advice for errors of system calls."""


def inspect(path: str, noun: str) -> format_file.StoreFormat | None:
    """Return the format of the directory at `path`; None for a missing or empty one. Changes nothing.

    As root it accepts any owner, to whom the daemon may drop its privileges. Raises `UnusableStore` or
    `OSError`.
    """
    try:
        root = _open(path)
    except (FileNotFoundError, NotADirectoryError):
        _check_parent(path)
        return None
    with closed_after(root):
        _check_access(root, dropping=os.geteuid() == 0)
        return read_format(root, noun)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Open the directory at `path` for the context. Raises `UnusableStore` or `OSError`."""
    with closed_after(_open(path)) as root:
        _check_access(root, dropping=False)
        yield root


@contextmanager
def initialized(
    path: str, noun: str, contents: str, calls: Syscalls, *, must_exist: bool
) -> Iterator[tuple[int, format_file.StoreFormat, bool]]:
    """Open the directory at `path` for the context; initialize it for `contents` if missing or empty.

    Yields its descriptor, its format, and whether it had one before. Raises `UnusableStore` or `OSError`;
    with `must_exist` nothing is created, so a directory that is not mounted is not replaced.
    """
    if not must_exist and not os.path.lexists(path):
        with suppress(FileExistsError):
            calls.mkdir(path, 0o700)
    with opened(path) as root:
        if found := format_file.read(root) if must_exist else read_format(root, noun):
            yield root, found, True
            return
        if must_exist:
            raise UnusableStore(f"its {format_file.NAME} file is missing; it was removed or is not mounted")
        _initialize(root, path, noun, contents, calls)
        found = format_file.read(root)
        assert found, "_initialize has created FORMAT"
        yield root, found, False


def _open(path: str) -> int:
    """Open a directory without following a link. Raises `UnusableStore` or `OSError`."""
    path = path.rstrip("/") or "/"
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        raise UnusableStore("it is a symbolic link; name the directory itself")
    if not stat.S_ISDIR(mode):
        raise UnusableStore("it is not a directory; name another path")
    return os.open(path, DIRECTORY_FLAGS)


def _check_parent(path: str) -> None:
    """Raise `UnusableStore` if the directory cannot be created."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise UnusableStore(f"there is no directory {parent}; create it")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UnusableStore(
            f"user {os.geteuid()} cannot create it in {parent}; create it for that user, or name another path"
        )


def _check_access(root: int, *, dropping: bool) -> None:
    """Raise `UnusableStore` for a wrong mode or, unless `dropping` privileges, a wrong owner.

    An empty directory may be writable for its group, as umask 002 makes it: `_initialize` ends that. So other
    users may have made a ``tmp/`` in it.
    """
    status = os.fstat(root)
    if status.st_uid != os.geteuid() and not dropping:
        raise UnusableStore(
            f"it belongs to user {status.st_uid}, and this process runs as user {os.geteuid()}; "
            "start it as the owner, or chown the directory"
        )
    mode = stat.S_IMODE(status.st_mode)
    is_new = format_file.read(root) is None
    if mode & (0o002 if is_new else 0o022):
        raise UnusableStore(
            f"others may write into it (mode {mode:04o}); chmod it to 0700, or name a directory on a file "
            "system that keeps modes"
        )
    if is_new:
        _check_tmp(root, status.st_uid)


def _check_tmp(root: int, owner: int) -> None:
    """Raise `UnusableStore` if ``tmp/`` is there and belongs to another user, or others may write into it."""
    try:
        status = os.stat(TMP_DIR, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != owner or mode & 0o022:
        raise UnusableStore(
            f"others may write into its {TMP_DIR}/ (user {status.st_uid}, mode {mode:04o}); remove that"
        )


def read_format(root: int, noun: str) -> format_file.StoreFormat | None:
    """Return the format; None for an empty directory. Raises `UnusableStore` for other contents."""
    if found := format_file.read(root):
        return found
    others = [name for name in os.listdir(root) if not name.startswith(".") and name not in VOLUME_NAMES]
    found = format_file.read(root)
    if others and not found:
        raise UnusableStore(
            f"it is not empty and has no {format_file.NAME} file, so it is no {noun}; name another path"
        )
    return found


def _initialize(root: int, path: str, noun: str, contents: str, calls: Syscalls) -> None:
    """Initialize an empty directory: mode 0700, durable name, and a ``FORMAT`` with `contents`.

    Its entries are checked again behind the change of mode: until then its group could add some.
    """
    calls.fchmod(root, 0o700)
    read_format(root, noun)
    _check_tmp(root, os.fstat(root).st_uid)
    _flush_parent(path, calls)
    with closing(TempFiles(root, calls)) as temp_files:
        format_file.create(root, temp_files, contents)


def _flush_parent(path: str, calls: Syscalls) -> None:
    """Make the name of the directory durable, if its parent is readable. `StoreRoot.flush` confirms it."""
    with suppress(PermissionError):
        flags = DIRECTORY_FLAGS & ~os.O_NOFOLLOW  # the parent may be a link
        with closed_after(calls.open(os.path.dirname(os.path.abspath(path)), flags)) as parent:
            calls.fsync(parent)


class StoreRoot:
    """A directory with ``FORMAT``, open as `descriptor`, which the caller owns. Blocking.

    Raises `OSError`; `FileNotFoundError` without ``FORMAT``. The caller closes it.
    """

    def __init__(self, descriptor: int, calls: Syscalls) -> None:
        self.descriptor = descriptor
        self._calls = calls
        self._format = calls.open(format_file.NAME, FILE_FLAGS, dir_fd=descriptor)
        self._confirms_by_read = syncfs_is_reliable(os.fstat(descriptor).st_dev)

    def flush(self, *directories: int) -> None:
        """Make the names in these directories durable. After an `OSError` it is unknown which are."""
        for directory in directories:
            self._calls.fsync(directory)
        if self._confirms_by_read:
            self._calls.pread(self._format, 1, 0)
        else:
            self._calls.fsync(self._format)

    def flush_shards(self, descriptors: Mapping[str, int], digests: Iterable[Digest]) -> None:
        """Flush the shard of each digest once; `descriptors` maps shards. Raises `OSError`."""
        names = sorted({digest.hex[:SHARD_DIGITS] for digest in digests})
        self.flush(*map(descriptors.__getitem__, names))

    def check(self) -> None:
        """Raise `StoreMissing` when the directory or its ``FORMAT`` was removed. May raise `OSError`."""
        try:
            self._calls.stat(format_file.NAME, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            raise StoreMissing from None

    def make(self, name: str) -> None:
        """Create a subdirectory, durably, unless it exists. Raises `StoreMissing` or `OSError`.

        A removed store is not created again: an empty one would replace the files.
        """
        self.check()
        with suppress(FileExistsError):
            self._calls.mkdir(name, 0o700, dir_fd=self.descriptor)
        self.flush(self.descriptor)

    def close(self) -> None:
        """Close ``FORMAT``, and forget the directory: its descriptor may soon be that of another one."""
        os.close(self._format)
        self.descriptor = self._format = CLOSED


def flush_root(root: int, calls: Syscalls) -> None:
    """Flush the directory `root`, which has a ``FORMAT``. Raises `OSError`."""
    with closing(StoreRoot(root, calls)) as held:
        held.flush(root)
