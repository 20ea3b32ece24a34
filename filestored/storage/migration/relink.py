"""Relinking of one file: verify it, link its new name, unlink its former name.

The link is made from the descriptor that was read, so it names exactly the verified content.
"""

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from filestored.digest import Algorithm, Digest
from filestored.errors import NotFound, UnusableStore
from filestored.storage.disk.quarantine import Quarantine
from filestored.storage.disk.shards import Shards
from filestored.storage.disk.syscalls import (
    FILE_FLAGS,
    NO_FILE_ERRNOS,
    Syscalls,
    closed_after,
    regular_status,
)

_READ_CHUNK_BYTES = 1024 * 1024


class Unreadable(OSError):
    """Raised for a file that cannot be read or linked; it is unchanged."""


class Relinker:
    """Renames files from digests of `source` to digests of `target`. Blocking; raises `OSError`."""

    def __init__(
        self, shards: Shards, quarantine: Quarantine, source: Algorithm, target: Algorithm, calls: Syscalls
    ) -> None:
        self._shards = shards
        self._quarantine = quarantine
        self._source = source
        self._target = target
        self._calls = calls

    def link_new(self, old: Digest) -> tuple[Digest | None, int]:
        """Link the new name of the file `old`; return that and the size in bytes.

        Returns None as the name, and changes nothing, for a corrupt file. The caller flushes the shard of the
        new name. Raises `NotFound` when there is no regular file `old`, or `Unreadable`.
        """
        with _named(old), closed_after(self._open(old)) as descriptor:
            found, new, size = self._read(descriptor)
            if found != old:
                return None, size
            self._link(descriptor, new)
            return new, size

    def quarantine(self, old: Digest) -> None:
        """Move the corrupt file `old` to quarantine, durably. Idempotent."""
        try:
            status = self._stat(old)
        except FileNotFoundError:
            return
        reason = f"its bytes do not have the {old.algorithm} of its name"
        self._quarantine.move_in(status, old.hex, self._shard(old), reason)
        self._shards.flush_names([old])

    def unlink_old(self, old: Digest, new: Digest) -> None:
        """Unlink the name `old`; the caller flushes its shard. Idempotent.

        Links the name `new` again if it is missing. Raises `Unreadable`, or `UnusableStore` when the content
        has changed.
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

    def unlink_new(self, old: Digest, new: Digest) -> bool:
        """Unlink the name `new` of the file `old`; the caller flushes its shard.

        Returns False, and changes nothing, unless the file has both names.
        """
        try:
            same = self._is_same_file(new, self._stat(old))
        except OSError:
            return False
        if same:
            self._calls.unlink(new.hex, dir_fd=self._shard(new))
        return same

    def identity(self, name: Digest) -> tuple[int, int] | None:
        """Return device and inode of a file; None if it is missing or unreadable."""
        try:
            status = self._stat(name)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _open(self, old: Digest) -> int:
        shard = self._shard(old)
        try:
            with _unreadable({*_DAMAGED, errno.EACCES, errno.EPERM}):
                descriptor = self._calls.open(old.hex, FILE_FLAGS, dir_fd=shard)
        except OSError as error:
            if error.errno in NO_FILE_ERRNOS:
                raise NotFound from None
            raise
        regular_status(descriptor, self._calls)
        return descriptor

    def _read(self, descriptor: int) -> tuple[Digest, Digest, int]:
        """Return both digests and the size of an open file."""
        source, target = self._source.new(), self._target.new()
        size = 0
        with _unreadable(_DAMAGED):
            while piece := self._calls.pread(descriptor, _READ_CHUNK_BYTES, size):
                source.update(piece)
                target.update(piece)
                size += len(piece)
        return self._source.finish(source), self._target.finish(target), size

    def _link(self, descriptor: int, new: Digest) -> None:
        """Link an open file to its new name; quarantine another file that has this name."""
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
    """Add the path of the file to an `OSError` of the context."""
    try:
        yield
    except Unreadable as error:
        raise Unreadable(error.errno, f"{name.shard}/{name}: {error.strerror}") from error
    except OSError as error:
        raise OSError(error.errno, f"{name.shard}/{name}: {error.strerror}") from error


@contextmanager
def _unreadable(codes: Collection[int]) -> Iterator[None]:
    """Convert errors with these numbers, which concern one file only, to `Unreadable`."""
    try:
        yield
    except OSError as error:
        if error.errno in codes:
            raise Unreadable(error.errno, error.strerror) from error
        raise


_DAMAGED = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.ENODATA, errno.EREMOTEIO, errno.ESTALE})
