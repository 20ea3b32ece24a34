"""Disk backend: files ``ab/abcdef…`` below one directory, each written once and never changed.

`layout.prepare` has made the directory a store. Its 256 shards are open (`shards`): opening a file is one
openat(2) with a bare name.

Upload: `begin` returns a `DiskSink`; `flush_names` flushes the shards. For a batch, `flush_all` does that and
the flush of every `seal` at once. Download: one openat(2) and one fstat(2), which must report a regular file:
symbolic links, FIFOs and directories are never served.
"""

import errno
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

from zope.interface import implementer

from filestored.digest import SHARD_DIGITS, Algorithm, Digest, algorithm
from filestored.errors import NotFound, StoreMissing
from filestored.interfaces import (
    IAliases,
    IBackend,
    IBatchFlush,
    IExpiringBackend,
    IFileBacked,
    INonBlockingOpen,
    IQuarantine,
    IRevalidatable,
    ISink,
    IStoredFile,
    StoredFileInfo,
)
from filestored.storage.admission import free_bytes
from filestored.storage.disk.aliases import AliasChain
from filestored.storage.disk.directory import CLOSED, StoreRoot, error_context
from filestored.storage.disk.file_cache import MAX_FILE_BYTES, CachedFile, FileCache
from filestored.storage.disk.locks import lock_shared
from filestored.storage.disk.quarantine import Quarantine
from filestored.storage.disk.shards import Shards
from filestored.storage.disk.sink import DiskSink
from filestored.storage.disk.syscalls import (
    DIRECTORY_FLAGS,
    FILE_FLAGS,
    NO_FILE_ERRNOS,
    Syscalls,
    regular_status,
    syncfs_is_reliable,
)
from filestored.storage.disk.temp_files import TempFiles
from filestored.storage.health import ReadFailed, ShardUnusable
from filestored.storage.limits import disk_expiry

BATCH_FLUSH_MIN = 6
"""Number of flushes from which one `syncfs` is cheaper."""


@implementer(IBackend, IBatchFlush, IAliases, IExpiringBackend, INonBlockingOpen, IQuarantine)
class DiskBackend:
    """The store in the directory `path`, whose files are named by `algorithm`.

    `reserve` in bytes, see `reserved_bytes`; `batch_flush_min` overrides `BATCH_FLUSH_MIN`; `file_cache`
    holds small files. Files of a missing or unreadable shard raise `ShardUnusable`. Raises `UnusableStore`
    when a shard is not a directory of the same file system, or while the store is migrated. The caller
    closes it.
    """

    def __init__(
        self,
        path: str,
        algorithm: Algorithm,
        calls: Syscalls | None = None,
        reserve: int | None = None,
        batch_flush_min: int | None = None,
        file_cache: FileCache | None = None,
    ) -> None:
        self._algorithm, self._reserve = algorithm, reserve
        self._calls = calls or Syscalls()
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
        default = BATCH_FLUSH_MIN if syncfs_is_reliable(os.fstat(self._root).st_dev) else sys.maxsize
        self._batch_flush_min = batch_flush_min or default

    @property
    def alias_algorithms(self) -> Sequence[Algorithm]:
        """The former algorithms."""
        return self._aliases.algorithms

    def resolve(self, digest: Digest) -> Digest:
        """See `IAliases.resolve`."""
        return self._aliases.resolve(digest)

    def begin(self) -> ISink:
        """Return a sink with a new temp file. Raises `StoreMissing` or `OSError`."""
        try:
            temp_file = self._temp_files.open()
        except OSError:  # EPERM or ENOENT, depending on the file system, in a removed directory
            self._store_root.check()
            raise
        return DiskSink(temp_file, self._shard_directories, self._quarantine, self._algorithm, self._calls)

    def flush_names(self, digests: Iterable[Digest]) -> None:
        """Flush the shards of these digests, each once."""
        self._store_root.flush_shards(self._shards, digests)

    def is_worthwhile(self, files: int, digests: Collection[Digest]) -> bool:
        """Return whether the number of single flushes reaches the minimum for `flush_all`."""
        least = self._batch_flush_min
        return files >= least or files + len({digest.hex[:SHARD_DIGITS] for digest in digests}) >= least

    def flush_all(self) -> None:
        """Call syncfs(2) on a descriptor that is always open, so that it reports every error."""
        self._calls.syncfs(self._root)

    def open(self, digest: Digest) -> IStoredFile:
        """Open a regular file: one openat(2) and fstat(2), or one stat(2) for a cached file."""
        cache = self._file_cache
        if cache is None:
            return self._open(digest)
        name = digest.hex
        cached = cache.get(name)
        if cached is None:
            return self._open_and_cache(cache, digest)
        try:
            status = self._calls.stat(name, dir_fd=self._shards[cached.shard], follow_symlinks=False)
        except OSError:
            status = None
        if status is not None and status.st_ino == cached.inode and status.st_ctime_ns == cached.changed:
            return cached
        cache.evict(name)
        return self._open_and_cache(cache, digest)

    def _open_and_cache(self, cache: FileCache, digest: Digest) -> IStoredFile:
        """Open the file; read, verify and cache a small one. Raises `ReadFailed` when it is corrupt."""
        file = self._open(digest)
        if file.size > MAX_FILE_BYTES:
            return file
        try:
            small = CachedFile(file.read(0, file.size), digest.shard, file.status)
        finally:
            file.close()
        if not self._is_digest_of(digest, small.data):
            reason = f"its bytes do not have the {digest.algorithm} of its name"
            raise ReadFailed(errno.EBADMSG, f"{digest.shard}/{digest} is damaged: {reason}")
        cache.add(digest.hex, small)
        return small

    def _is_digest_of(self, digest: Digest, data: bytes) -> bool:
        """Return whether `data` has this digest, which may be of a former algorithm."""
        named = self._algorithm if digest.algorithm == self._algorithm.name else algorithm(digest.algorithm)
        return named.digest(data) == digest

    def _open(self, digest: Digest) -> "DiskFile":
        try:
            descriptor = self._open_name(digest)
        except (StoreMissing, ShardUnusable):
            raise
        except OSError as error:
            if error.errno in NO_FILE_ERRNOS:
                raise NotFound from None
            raise ReadFailed.of(error, f"{digest.shard}/{digest}") from error
        return DiskFile(
            digest, descriptor, regular_status(descriptor, self._calls), self._calls, self._shards
        )

    def _open_name(self, digest: Digest) -> int:
        """Open the name; again if the shard directory was replaced. Raises `OSError`."""
        while True:
            try:
                return self._calls.open(digest.hex, FILE_FLAGS, dir_fd=self._shards[digest.shard])
            except FileNotFoundError:
                if not self._shard_directories.reopen(digest.shard):
                    raise

    def delete(self, digest: Digest) -> bool:
        """Unlink the file; a directory of that name stays. Raises `StoreMissing` or `OSError`."""
        while True:
            shard = self._shards[digest.shard]
            try:
                with disk_expiry.locked_name(digest.hex, shard, self._calls):
                    self._calls.unlink(digest.hex, dir_fd=shard)
                    return True
            except IsADirectoryError:
                return False
            except FileNotFoundError:
                if not self._shard_directories.reopen(digest.shard):
                    return False

    def claimed_sweep(self, interval: float) -> AbstractContextManager[float | None]:
        """Lock the file of sweeps; see `IExpiringBackend`."""
        return disk_expiry.claimed_sweep(self._root, interval, self._calls)

    def delete_expired(self, digest: Digest, before: float) -> bool:
        """Unlink an old file under its lock; see `IExpiringBackend`."""
        return disk_expiry.unlink_expired(digest.hex, self._shards[digest.shard], before, self._calls)

    def changed_at(self, digest: Digest) -> float:
        """Return the later of ``st_mtime`` and ``st_ctime``, for files copied from a backup."""
        try:
            status = self._calls.stat(digest.hex, dir_fd=self._shards[digest.shard], follow_symlinks=False)
        except FileNotFoundError:
            raise NotFound from None
        return max(status.st_mtime, status.st_ctime)

    def move_to_quarantine(self, digest: Digest, reason: str) -> bool:
        """Rename the file into ``quarantine/``."""
        return self._quarantine.move_orphan(digest.hex, self._shards[digest.shard], reason)

    def restore(self, digest: Digest) -> bool:
        """Link the file out of ``quarantine/``; replaces nothing."""
        return self._quarantine.restore_orphan(digest.hex, self._shards[digest.shard])

    def digests(self, after: Digest | None, limit: int) -> list[Digest]:
        """List the regular files with names of digests, shard by shard."""
        return self._shard_directories.digests(self._algorithm, after, limit)

    def describe(self, digest: Digest) -> StoredFileInfo:
        """Return size and modification time of a regular file by stat(2)."""
        return self._shard_directories.describe(digest)

    def entries(self, after: Digest | None, limit: int) -> list[StoredFileInfo]:
        """List as `digests`; one stat(2) for each file of the page."""
        return self._shard_directories.entries(self._algorithm, after, limit)

    def free_space(self) -> int:
        """Return the free space of fstatvfs(3) less the reserve; 0 without free inodes."""
        return free_bytes(self._calls.fstatvfs(self._root), self._reserve)

    def close(self) -> None:
        """Close all descriptors. No call may be running; a later one fails with EBADF."""
        self._opened.close()
        self._root = CLOSED


@implementer(IStoredFile, IFileBacked, IRevalidatable)
class DiskFile:
    """An open stored file; `size` in bytes, `status` from fstat(2) at opening."""

    __slots__ = ("_calls", "_descriptor", "_digest", "_shards", "size", "status")

    def __init__(
        self,
        digest: Digest,
        descriptor: int,
        status: os.stat_result,
        calls: Syscalls,
        shards: Mapping[str, int],
    ) -> None:
        self._digest = digest
        self._shards = shards
        self._descriptor = descriptor
        self._calls = calls
        self.size = status.st_size
        self.status = status

    def read(self, offset: int, count: int) -> bytes:
        """Read by pread(2); thread-safe. Raises `ReadFailed`."""
        try:
            return self._calls.pread(self._descriptor, count, offset)
        except OSError as error:
            raise ReadFailed.of(error, f"{self._digest.shard}/{self._digest}") from error

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def is_current(self) -> bool:
        """Return whether inode and ctime of the name are those of the open file, by stat(2)."""
        try:
            status = self._calls.stat(
                self._digest.hex, dir_fd=self._shards[self._digest.shard], follow_symlinks=False
            )
        except OSError:
            return False
        opened = self.status
        return status.st_ino == opened.st_ino and status.st_ctime_ns == opened.st_ctime_ns

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)
