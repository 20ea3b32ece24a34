"""One file on its way from a former name to a new one: read, linked, and the old name taken away.

`read` decides which name it gets; the file may be read while nobody may change it. The link is made from
the very descriptor that was read, so nothing can come between.
"""

import errno
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from filestored.digest import Algorithm, Digest
from filestored.errors import NotFound, UnusableStore
from filestored.storage.disk.quarantine import Quarantine
from filestored.storage.disk.shards import Shards
from filestored.storage.disk.sink import OPEN_FLAGS
from filestored.storage.disk.syscalls import Syscalls

_PIECE = 1024 * 1024


class Unreadable(OSError):
    """A file cannot be read, or not be given another name; it stays as it is."""


class Relinker:
    """Renames files of a store from names of `source` to names of `target`. Blocking; all raise `OSError`."""

    def __init__(
        self, shards: Shards, quarantine: Quarantine, source: Algorithm, target: Algorithm, calls: Syscalls
    ) -> None:
        self._shards = shards
        self._quarantine = quarantine
        self._source = source
        self._target = target
        self._calls = calls

    def link_new(self, old: Digest) -> tuple[Digest | None, int]:
        """Give the file `old` its new name, too; returns that and the size in bytes.

        The name is None, and nothing has changed, when the bytes do not have the hash `old`. The
        caller flushes the shard of the new name. Raises `NotFound` when there is no regular file `old`, and
        `Unreadable`.
        """
        with _named(old):
            descriptor = self._open(old)
            try:
                found, new, size = self._read(descriptor)
                if found != old:
                    return None, size
                self._link(descriptor, new)
                return new, size
            finally:
                os.close(descriptor)

    def quarantine(self, old: Digest) -> None:
        """Move the rotten file `old` to quarantine, durably, if it has not been done yet."""
        try:
            status = self._stat(old)
        except FileNotFoundError:
            return
        reason = f"its bytes do not have the {old.algorithm} of its name"
        self._quarantine.move_in(status, old.hex, self._shard(old), reason)
        self._shards.flush_names([old])

    def unlink_old(self, old: Digest, new: Digest) -> None:
        """Take the name `old` away, if it has not been done yet; the caller flushes its shard.

        A file that has lost the name `new` gets it again. Raises `Unreadable`, and `UnusableStore` when its
        bytes have changed.
        """
        with _named(old), _unreadable(_DAMAGED):
            try:
                status = self._stat(old)
            except FileNotFoundError:
                return
            same = self._is_same_file(new, status)
        if not same:
            if self.link_new(old)[0] != new:
                raise UnusableStore(f"{new.shard}/{new} should be the file {old.shard}/{old}, and is not")
            self._shards.flush_names([new])
        self._calls.unlink(old.hex, dir_fd=self._shard(old))

    def take_back(self, old: Digest, new: Digest) -> bool:
        """Take the name `new` away from the file `old`; the caller flushes its shard.

        False, and nothing has changed, unless the file can be seen to have both names.
        """
        try:
            same = self._is_same_file(new, self._stat(old))
        except OSError:
            return False
        if same:
            self._calls.unlink(new.hex, dir_fd=self._shard(new))
        return same

    def identity(self, name: Digest) -> tuple[int, int] | None:
        """Device and inode of a file, None when it is gone or cannot be looked at."""
        try:
            status = self._stat(name)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _open(self, old: Digest) -> int:
        shard = self._shard(old)
        try:
            with _unreadable({*_DAMAGED, errno.EACCES, errno.EPERM}):
                descriptor = self._calls.open(old.hex, OPEN_FLAGS, dir_fd=shard)
        except OSError as error:
            if error.errno in _NO_FILE:
                raise NotFound from None
            raise
        try:
            if not stat.S_ISREG(self._calls.fstat(descriptor).st_mode):
                raise NotFound
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _read(self, descriptor: int) -> tuple[Digest, Digest, int]:
        """The digests of a file by both algorithms, and its size."""
        source, target = self._source.new(), self._target.new()
        size = 0
        with _unreadable(_DAMAGED):
            while piece := self._calls.pread(descriptor, _PIECE, size):
                source.update(piece)
                target.update(piece)
                size += len(piece)
        return self._source.finish(source), self._target.finish(target), size

    def _link(self, descriptor: int, new: Digest) -> None:
        """Link an open file to its new name. What has that name and is another file had no right to it."""
        shard, path = self._shard(new), f"/proc/self/fd/{descriptor}"
        try:
            with _unreadable({errno.EPERM, errno.EMLINK}):
                self._calls.link(path, new.hex, dst_dir_fd=shard, follow_symlinks=True)
        except FileExistsError:
            if self._is_same_file(new, self._calls.fstat(descriptor)):
                return
            reason = f"it had this name before the store was named by {new.algorithm}"
            self._quarantine.move_in(self._stat(new), new.hex, shard, reason)
            self._calls.link(path, new.hex, dst_dir_fd=shard, follow_symlinks=True)

    def _is_same_file(self, name: Digest, status: os.stat_result) -> bool:
        try:
            return os.path.samestat(self._stat(name), status)
        except FileNotFoundError:
            return False

    def _stat(self, name: Digest) -> os.stat_result:
        return self._calls.stat(name.hex, dir_fd=self._shard(name), follow_symlinks=False)

    def _shard(self, name: Digest) -> int:
        return self._shards.descriptors[name.shard]


@contextmanager
def _named(name: Digest) -> Iterator[None]:
    """Say of which file an error of the system speaks."""
    try:
        yield
    except Unreadable as error:
        raise Unreadable(error.errno, f"{name.shard}/{name}: {error.strerror}") from error
    except OSError as error:
        raise OSError(error.errno, f"{name.shard}/{name}: {error.strerror}") from error


@contextmanager
def _unreadable(codes: Collection[int]) -> Iterator[None]:
    """Raise `Unreadable` for errors of these numbers: they are of one file, and no reason to stop."""
    try:
        yield
    except OSError as error:
        if error.errno in codes:
            raise Unreadable(error.errno, error.strerror) from error
        raise


_DAMAGED = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.ENODATA, errno.EREMOTEIO, errno.ESTALE})
_NO_FILE = {errno.ENOENT, errno.ELOOP, errno.ENXIO}
