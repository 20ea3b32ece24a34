"""Files on a disk: ``ab/abcdef…`` below one directory, each written once and never changed.

The directory has been made a store by `layout.prepare`. Its 256 shards are held open from
start to end: opening a file is one `openat(2)` with a bare name, no path that anybody could
bend; and a flush of a shard that fails is told to every process that had it open by
then, so no other worker can take the next, empty flush for a success.

Upload: `begin` gives a `DiskSink` (see `sink`), which ends with a name; `settle` flushes the
shards. Download: one `openat`, one `fstat` that must say *regular file*; symbolic links,
FIFOs and directories that somebody planted are not there.
"""

import errno
import os
import stat
from collections.abc import Iterable

from zope.interface import implementer

from filestored.digest import SHARD_DIGITS, Algorithm, Digest
from filestored.errors import MalformedDigest, NotFound, UnusableStore
from filestored.interfaces import IBackend, IFileBacked, IOpensQuickly, ISink, IStoredFile
from filestored.storage.calls import Calls
from filestored.storage.layout import SHARDS
from filestored.storage.quarantine import Quarantine
from filestored.storage.scratch import DIRECTORY, Workshop
from filestored.storage.sink import READ_ONLY, DiskSink

RESERVE = 256 * 1024 * 1024
"""Bytes that are always kept free, or a hundredth of the file system if that is more."""


@implementer(IBackend, IOpensQuickly)
class DiskBackend:
    """The store in the directory `path`, whose files `algorithm` names.

    `reserve` is in bytes. Raises `UnusableStore` when a shard is not a directory of the same
    file system, or `OSError`. Close it when it is not needed any more.
    """

    def __init__(
        self, path: str, algorithm: Algorithm, calls: Calls | None = None, reserve: int = RESERVE
    ) -> None:
        self._algorithm = algorithm
        self._calls = calls or Calls()
        self._reserve = reserve
        self._root = self._calls.open(path, DIRECTORY)
        self._shards: dict[str, int] = {}
        try:
            self._workshop = Workshop(self._root, self._calls)
            self._open_shards(path)
        except BaseException:
            self._close_directories()
            raise
        self._quarantine = Quarantine(self._root, self._calls)

    def begin(self) -> ISink:
        """A sink on a scratch file."""
        return DiskSink(self._workshop.open(), self._shards, self._quarantine, self._algorithm, self._calls)

    def settle(self, digests: Iterable[Digest]) -> None:
        """Flush each shard that is concerned once."""
        for name in sorted({digest.shard for digest in digests}):
            self._calls.fsync(self._shards[name])

    def open(self, digest: Digest) -> "DiskFile":
        """One `openat` and one `fstat`; what is no regular file is not there."""
        try:
            descriptor = self._calls.open(digest.hex, READ_ONLY, dir_fd=self._shards[digest.shard])
        except OSError as error:
            if error.errno in _NO_FILE:
                raise NotFound from None
            raise
        try:
            status = self._calls.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise NotFound
        except BaseException:
            os.close(descriptor)
            raise
        return DiskFile(descriptor, status.st_size, self._calls)

    def delete(self, digest: Digest) -> bool:
        """Unlink. A directory under that name is not ours, and stays."""
        try:
            self._calls.unlink(digest.hex, dir_fd=self._shards[digest.shard])
        except (FileNotFoundError, IsADirectoryError):
            return False
        return True

    def digests(self, after: Digest | None, limit: int) -> list[Digest]:
        """The regular files that are named like digests, shard after shard."""
        found: list[Digest] = []
        first = after.shard if after else SHARDS[0]
        for name in SHARDS[SHARDS.index(first) :]:
            names = self._list(name)
            found += sorted((digest for digest in names if not after or digest.hex > after.hex), key=str)
            if len(found) >= limit:
                break
        return found[:limit]

    def free_space(self) -> int:
        """What `statvfs` says, less the reserve; nothing when the inodes are used up."""
        space = self._calls.fstatvfs(self._root)
        if space.f_files and not space.f_favail:
            return 0
        kept = max(self._reserve, space.f_blocks * space.f_frsize // 100)
        return max(0, space.f_bavail * space.f_frsize - kept)

    def close(self) -> None:
        """Let go of the directories. Nothing may be under way any more."""
        self._workshop.close()
        self._close_directories()

    def _open_shards(self, path: str) -> None:
        device = os.fstat(self._root).st_dev
        for name in SHARDS:
            self._shards[name] = shard = self._calls.open(name, DIRECTORY, dir_fd=self._root)
            if os.fstat(shard).st_dev != device:
                raise UnusableStore(f"the store {path} spans file systems: {name} is on another one")

    def _close_directories(self) -> None:
        for descriptor in (*self._shards.values(), self._root):
            os.close(descriptor)

    def _list(self, shard: str) -> list[Digest]:
        """What one shard holds; read through a descriptor of its own, which has its own position."""
        assert len(shard) == SHARD_DIGITS
        descriptor = self._calls.open(".", DIRECTORY, dir_fd=self._shards[shard])
        try:
            with self._calls.scandir(descriptor) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        finally:
            os.close(descriptor)
        return [digest for name in names if (digest := self._parse(name)) and digest.shard == shard]

    def _parse(self, name: str) -> Digest | None:
        try:
            return self._algorithm.parse(name)
        except MalformedDigest:
            return None


@implementer(IStoredFile, IFileBacked)
class DiskFile:
    """An open file of the store; `size` in bytes."""

    __slots__ = ("_calls", "_descriptor", "size")

    def __init__(self, descriptor: int, size: int, calls: Calls) -> None:
        self._descriptor = descriptor
        self._calls = calls
        self.size = size

    def read(self, offset: int, count: int) -> bytes:
        """`pread`: many may read at once."""
        return self._calls.pread(self._descriptor, count, offset)

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


_NO_FILE = {errno.ENOENT, errno.ELOOP, errno.ENXIO}
"""Not there; a symbolic link; a socket, or a device without a driver."""
