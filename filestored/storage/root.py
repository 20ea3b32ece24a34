"""The directory of a store, held open with its ``FORMAT`` file: confirmed flushes, a check that it exists.

`fsync(2)` of a directory is no proof on XFS. After a shutdown of the file system, such as an I/O error of its
journal causes, it returns 0 although the names are lost; ext4 returns EIO. `fsync` of a regular file returns
EIO on both, even of a file without changes. A shutdown lasts until the file system is unmounted. So one flush
of a regular file confirms all flushes of directories of that file system that returned before::

    fsync(directory), fsync(directory), fsync(FORMAT) -> the names are durable

`syncfs` reports the shutdown by itself. Measured on ext4, the call adds 50 us to 340 us of a lone upload.

Rejected: `syncfs` for every flush, which writes other programs' files, too; `fsync` of the file just linked,
which takes 100 us; `open` or `pread` of ``FORMAT``, which report a shutdown, but no manual page says so.
"""

import os
from contextlib import closing, suppress

from filestored.errors import StoreMissing
from filestored.storage import format as formats
from filestored.storage.calls import Calls


class StoreRoot:
    """The directory that is open as `descriptor`, which stays the caller's. Blocking. Close it in the end.

    Raises `OSError`; `FileNotFoundError` when there is no ``FORMAT``.
    """

    def __init__(self, descriptor: int, calls: Calls) -> None:
        self.descriptor = descriptor
        self._calls = calls
        self._witness = calls.open(formats.NAME, _WITNESS, dir_fd=descriptor)

    def flush(self, *directories: int) -> None:
        """Make the names in these directories durable. Raises `OSError`: which names are is unknown then."""
        for directory in directories:
            self._calls.fsync(directory)
        self._calls.fsync(self._witness)

    def check(self) -> None:
        """Raise `StoreMissing` when the directory was removed, or its ``FORMAT`` was. May raise `OSError`."""
        try:
            self._calls.stat(formats.NAME, dir_fd=self.descriptor, follow_symlinks=False)
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
        os.close(self._witness)


def flush_root(root: int, calls: Calls) -> None:
    """Flush the directory `root`, which has a ``FORMAT``, once. Raises `OSError`."""
    with closing(StoreRoot(root, calls)) as held:
        held.flush(root)


_WITNESS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
