"""The directory of a store, held open with its ``FORMAT`` file: confirmed flushes, a check that it exists.

`fsync(2)` of a directory is no proof on XFS. After a shutdown of the file system, such as an I/O error of its
journal causes, it returns 0 although the names are lost; ext4 returns EIO. A shutdown lasts until the file
system is unmounted. So one call that reports it confirms all flushes of directories that returned before::

    fsync(directory), fsync(directory), pread(FORMAT) -> the names are durable

Calls that report it: `fsync` of a regular file, also of one without changes; `syncfs`; on ext4 and XFS also
`pread` of a regular file, even if it is cached (``python -m tests.deep power`` proves that). `pread` is used
where `flush.can_be_trusted`, else `fsync`. Measured with single uploads of 4 KiB on ext4: of 800 us, `pread`
takes 2 us, and `fsync` of ``FORMAT`` would take 160 us.

Rejected: `syncfs` for every flush, which writes other programs' files, too.
"""

import os
from contextlib import closing, suppress

from filestored.errors import StoreMissing
from filestored.storage import format as formats
from filestored.storage.calls import Calls
from filestored.storage.flush import can_be_trusted


class StoreRoot:
    """The directory that is open as `descriptor`, which stays the caller's. Blocking. Close it in the end.

    Raises `OSError`; `FileNotFoundError` when there is no ``FORMAT``.
    """

    def __init__(self, descriptor: int, calls: Calls) -> None:
        self.descriptor = descriptor
        self._calls = calls
        self._witness = calls.open(formats.NAME, _WITNESS, dir_fd=descriptor)
        self._reads = can_be_trusted(os.fstat(descriptor).st_dev)

    def flush(self, *directories: int) -> None:
        """Make the names in these directories durable. Raises `OSError`: which names are is unknown then."""
        for directory in directories:
            self._calls.fsync(directory)
        if self._reads:
            self._calls.pread(self._witness, 1, 0)
        else:
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
