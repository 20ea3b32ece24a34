"""Files on a disk: ``ab/abcdef…`` below one directory, each written once and never changed.

The directory has been made a store by `layout.prepare`. Its 256 shards are held open (see
`shards`): opening a file is one `openat(2)` with a bare name.

Upload: `begin` gives a `DiskSink` (see `sink`), which ends with a name; `flush_names` flushes the
shards. For a crowd, `flush` does that, and the flush of every `seal`, at once. Download: one `openat`,
one `fstat` that must say *regular file*; symbolic links, FIFOs and directories that somebody
planted are not there.
"""

import errno
import os
import stat
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack

from zope.interface import implementer

from filestored.digest import Algorithm, Digest, algorithm
from filestored.errors import NotFound, StoreMissing
from filestored.interfaces import (
    IAliases,
    IBackend,
    IBatchFlush,
    IFileBacked,
    INonBlockingOpen,
    IQuarantine,
    ISink,
    IStoredFile,
)
from filestored.storage.disk.aliases import AliasChain
from filestored.storage.disk.directory import StoreRoot, error_context
from filestored.storage.disk.file_cache import MAX_FILE_BYTES, CachedFile, FileCache
from filestored.storage.disk.locks import lock_shared
from filestored.storage.disk.quarantine import Quarantine
from filestored.storage.disk.shards import Shards
from filestored.storage.disk.sink import OPEN_FLAGS, DiskSink
from filestored.storage.disk.syscalls import Syscalls, syncfs_is_reliable
from filestored.storage.disk.temp_files import DIRECTORY_FLAGS, TempFiles
from filestored.storage.health import ReadFailed, ShardUnusable

RESERVED_BYTES = 256 * 1024 * 1024
"""Bytes that are always kept free, or a hundredth of the file system if that is more."""

BATCH_FLUSH_MIN = 6
"""Flushes from which on one for all of them costs less."""


@implementer(IBackend, IBatchFlush, IAliases, INonBlockingOpen, IQuarantine)
class DiskBackend:
    """The store in the directory `path`, whose files `algorithm` names.

    `reserve` is in bytes, `batch_flush_min` takes the place of `BATCH_FLUSH_MIN`; small files are kept in `file_cache`. What is in
    a shard that is missing or unreadable raises `ShardUnusable`. Raises `UnusableStore` when a shard is not
    a directory of the same file system, or the store is being moved to another algorithm. Close it when it
    is not needed any more.
    """

    def __init__(
        self,
        path: str,
        algorithm: Algorithm,
        calls: Syscalls | None = None,
        reserve: int = RESERVED_BYTES,
        batch_flush_min: int | None = None,
        file_cache: FileCache | None = None,
    ) -> None:
        self._algorithm = algorithm
        self._calls = calls or Syscalls()
        self._reserve = reserve
        with error_context(path, "store"), ExitStack() as opened:
            self._root = self._calls.open(path, DIRECTORY_FLAGS)
            opened.callback(os.close, self._root)
            found = lock_shared(self._root, algorithm.name, self._calls)
            self._store_root = root = StoreRoot(self._root, self._calls)
            opened.callback(root.close)
            self._temp_files = TempFiles(self._root, self._calls)
            opened.callback(self._temp_files.close)
            self._shard_directories = Shards(root, self._calls)
            opened.callback(self._shard_directories.close)
            self._aliases = AliasChain(root, found.aliases, algorithm, self._calls)
            opened.callback(self._aliases.close)
            self._opened = opened.pop_all()
        self._shards = self._shard_directories.descriptors
        self._quarantine = Quarantine(root, self._calls)
        self._file_cache = file_cache
        self._batch_flush_min = batch_flush_min or (
            BATCH_FLUSH_MIN if syncfs_is_reliable(os.fstat(self._root).st_dev) else sys.maxsize
        )

    @property
    def former(self) -> Sequence[Algorithm]:
        """The algorithms that the store has left."""
        return self._aliases.algorithms

    def current(self, digest: Digest) -> Digest:
        """What the aliases say."""
        return self._aliases.current(digest)

    def begin(self) -> ISink:
        """A sink on a scratch file. Raises `StoreMissing` or `OSError`."""
        try:
            temp_file = self._temp_files.open()
        except OSError:  # EPERM or ENOENT, as the file system likes, in a directory that was removed
            self._store_root.check()
            raise
        return DiskSink(temp_file, self._shard_directories, self._quarantine, self._algorithm, self._calls)

    def flush_names(self, digests: Iterable[Digest]) -> None:
        """Flush each shard that is concerned once."""
        self._shard_directories.flush_names(digests)

    def is_worthwhile(self, files: int, digests: Collection[Digest]) -> bool:
        """Whether so many flushes would be needed without `flush`, and it can be trusted here."""
        return files + len({digest.shard for digest in digests}) >= self._batch_flush_min

    def flush(self) -> None:
        """`syncfs`, through a descriptor that is open from start to end: it is told every error."""
        self._calls.syncfs(self._root)

    def open(self, digest: Digest) -> IStoredFile:
        """One `openat` and one `fstat`, or one `stat` for a recent file; only regular files are there."""
        if self._file_cache is None:
            return self._open(digest)
        return self._cached(self._file_cache, digest) or self._open_and_cache(self._file_cache, digest)

    def _cached(self, file_cache: FileCache, digest: Digest) -> CachedFile | None:
        """The file as it was read before, if it is still that one."""
        file = file_cache.get(digest.hex)
        if file is None:
            return None
        try:
            status = self._calls.stat(digest.hex, dir_fd=self._shards[digest.shard], follow_symlinks=False)
        except OSError:
            status = None
        if status is not None and file.is_unchanged(status):
            return file
        file_cache.drop(digest.hex)
        return None

    def _open_and_cache(self, file_cache: FileCache, digest: Digest) -> IStoredFile:
        """The file, and if it is small its bytes at once. Raises `ReadFailed` when these are not its own."""
        file = self._open(digest)
        if file.size > MAX_FILE_BYTES:
            return file
        try:
            small = CachedFile(file.read(0, file.size), file.status)
        finally:
            file.close()
        if not self._is_digest_of(digest, small.data):
            reason = f"its bytes do not have the {digest.algorithm} of its name"
            raise ReadFailed(errno.EBADMSG, f"{digest.shard}/{digest} is damaged: {reason}")
        file_cache.add(digest.hex, small)
        return small

    def _is_digest_of(self, digest: Digest, data: bytes) -> bool:
        """Compare `data` with a name of ours, or of an algorithm before a migration."""
        named = self._algorithm if digest.algorithm == self._algorithm.name else algorithm(digest.algorithm)
        hasher = named.new()
        hasher.update(data)
        return named.finish(hasher) == digest

    def _open(self, digest: Digest) -> "DiskFile":
        try:
            descriptor = self._open_name(digest)
        except (StoreMissing, ShardUnusable):
            raise
        except OSError as error:
            if error.errno in _NO_FILE:
                raise NotFound from None
            raise ReadFailed.of(error, f"{digest.shard}/{digest}") from error
        try:
            status = self._calls.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise NotFound
        except BaseException:
            os.close(descriptor)
            raise
        return DiskFile(digest, descriptor, status, self._calls)

    def _open_name(self, digest: Digest) -> int:
        """Open the name; once more where the shard turns out to have been replaced. Raises `OSError`."""
        while True:
            try:
                return self._calls.open(digest.hex, OPEN_FLAGS, dir_fd=self._shards[digest.shard])
            except FileNotFoundError:
                if not self._shard_directories.reopen(digest.shard):
                    raise

    def delete(self, digest: Digest) -> bool:
        """Unlink. A directory under that name is not ours, and stays. Raises `StoreMissing` or `OSError`."""
        while True:
            try:
                self._calls.unlink(digest.hex, dir_fd=self._shards[digest.shard])
                return True
            except IsADirectoryError:
                return False
            except FileNotFoundError:
                if not self._shard_directories.reopen(digest.shard):
                    return False

    def changed(self, digest: Digest) -> float:
        """The later one of ``st_mtime`` and ``st_ctime``: a file from a backup is as old as its copy here."""
        try:
            status = self._calls.stat(digest.hex, dir_fd=self._shards[digest.shard], follow_symlinks=False)
        except FileNotFoundError:
            raise NotFound from None
        return max(status.st_mtime, status.st_ctime)

    def set_aside(self, digest: Digest, reason: str) -> bool:
        """A rename into ``quarantine/``."""
        return self._quarantine.set_aside(digest.hex, self._shards[digest.shard], reason)

    def recover(self, digest: Digest) -> bool:
        """A link out of ``quarantine/``, which replaces nothing."""
        return self._quarantine.recover(digest.hex, self._shards[digest.shard])

    def digests(self, after: Digest | None, limit: int) -> list[Digest]:
        """The regular files that are named like digests, shard after shard."""
        return self._shard_directories.digests(self._algorithm, after, limit)

    def free_space(self) -> int:
        """What `statvfs` says, less the reserve; nothing when the inodes are used up."""
        space = self._calls.fstatvfs(self._root)
        if space.f_files and not space.f_favail:
            return 0
        kept = max(self._reserve, space.f_blocks * space.f_frsize // 100)
        return max(0, space.f_bavail * space.f_frsize - kept)

    def close(self) -> None:
        """Let go of the directories. Nothing may be under way any more."""
        self._opened.close()


@implementer(IStoredFile, IFileBacked)
class DiskFile:
    """The open file named `digest`; `size` in bytes, `status` as it was when it was opened."""

    __slots__ = ("_calls", "_descriptor", "_digest", "size", "status")

    def __init__(self, digest: Digest, descriptor: int, status: os.stat_result, calls: Syscalls) -> None:
        self._digest = digest
        self._descriptor = descriptor
        self._calls = calls
        self.size = status.st_size
        self.status = status

    def read(self, offset: int, count: int) -> bytes:
        """`pread`: many may read at once. Raises `ReadFailed`."""
        try:
            return self._calls.pread(self._descriptor, count, offset)
        except OSError as error:
            raise ReadFailed.of(error, f"{self._digest.shard}/{self._digest}") from error

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


_NO_FILE = {errno.ENOENT, errno.ELOOP, errno.ENXIO}
"""Not there; a symbolic link; a socket, or a device without a driver."""
