"""One file on its way from a former name to a new one: read, linked, and the old name taken away.

`read` decides which name it gets; the file may be read while nobody may change it. The link is made from
the very descriptor that was read, so nothing can come between.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from filestored.digest import Algorithm, Digest
from filestored.errors import UnusableStore
from filestored.storage.calls import Calls
from filestored.storage.quarantine import Quarantine
from filestored.storage.shards import Shards
from filestored.storage.sink import READ_ONLY

_PIECE = 1024 * 1024


class Renaming:
    """Renames files of a store from names of `source` to names of `target`. Blocking; all raise `OSError`."""

    def __init__(
        self, shards: Shards, quarantine: Quarantine, source: Algorithm, target: Algorithm, calls: Calls
    ) -> None:
        self._shards = shards
        self._quarantine = quarantine
        self._source = source
        self._target = target
        self._calls = calls

    def give(self, old: Digest) -> tuple[Digest | None, int]:
        """Give the file `old` its new name, too; returns that and the size in bytes.

        The name is None, and nothing has changed, when the bytes do not have the hash `old`. The
        caller flushes the shard of the new name.
        """
        with _named(old):
            descriptor = self._calls.open(old.hex, READ_ONLY, dir_fd=self._shard(old))
            try:
                found, new, size = self._read(descriptor)
                if found != old:
                    return None, size
                self._link(descriptor, new)
                return new, size
            finally:
                os.close(descriptor)

    def set_aside(self, old: Digest) -> None:
        """Move the rotten file `old` to quarantine, durably, if it has not been done yet."""
        try:
            status = self._stat(old)
        except FileNotFoundError:
            return
        reason = f"its bytes do not have the {old.algorithm} of its name"
        self._quarantine.take(status, old.hex, self._shard(old), reason)
        self._shards.settle([old])

    def take(self, old: Digest, new: Digest) -> None:
        """Take the name `old` away, if it has not been done yet; the caller flushes its shard.

        Raises `UnusableStore` when `new` does not mean the same file.
        """
        try:
            status = self._stat(old)
        except FileNotFoundError:
            return
        if not self._means(new, status):
            raise UnusableStore(f"{new.shard}/{new} should be the file {old.shard}/{old}, and is not")
        self._calls.unlink(old.hex, dir_fd=self._shard(old))

    def _read(self, descriptor: int) -> tuple[Digest, Digest, int]:
        """The digests of a file by both algorithms, and its size."""
        source, target = self._source.new(), self._target.new()
        size = 0
        while piece := self._calls.pread(descriptor, _PIECE, size):
            source.update(piece)
            target.update(piece)
            size += len(piece)
        return self._source.finish(source), self._target.finish(target), size

    def _link(self, descriptor: int, new: Digest) -> None:
        """Link an open file to its new name. What has that name and is another file had no right to it."""
        shard, path = self._shard(new), f"/proc/self/fd/{descriptor}"
        try:
            self._calls.link(path, new.hex, dst_dir_fd=shard, follow_symlinks=True)
        except FileExistsError:
            if self._means(new, self._calls.fstat(descriptor)):
                return
            reason = f"it had this name before the store was named by {new.algorithm}"
            self._quarantine.take(self._stat(new), new.hex, shard, reason)
            self._calls.link(path, new.hex, dst_dir_fd=shard, follow_symlinks=True)

    def _means(self, name: Digest, status: os.stat_result) -> bool:
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
    except OSError as error:
        raise OSError(error.errno, f"{name.shard}/{name}: {error.strerror}") from error
