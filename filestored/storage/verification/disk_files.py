"""Files of a bucket on a disk: read past the page cache, and moved to quarantine under the locks of uploads.

A file is read with O_DIRECT where the file system supports that: from the disk itself, also if its pages are
in memory, and without new pages. Elsewhere it is read through the page cache, without read-ahead. In both
cases pages that were not in memory before are dropped afterwards (`page_cache`). The access time stays.

Shards are listed one at a time. Their names and each file are opened in the directory that is there at that
moment, so that a removed store is an error and not an empty one.
"""

import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from typing import cast

from filestored.digest import SHARD_DIGITS, Algorithm, Digest
from filestored.errors import MalformedDigest, NotFound
from filestored.interfaces import IBackend, StoredFileInfo, Usage
from filestored.storage.disk.directory import StoreRoot
from filestored.storage.disk.quarantine import Quarantine
from filestored.storage.disk.shards import SHARD_NAMES, Shards
from filestored.storage.disk.syscalls import (
    FILE_FLAGS,
    NO_FILE_ERRNOS,
    Syscalls,
    closed_after,
)
from filestored.storage.health import LACKING, ReadFailed, ShardUnusable
from filestored.storage.limits.disk_usage import UncountedDiskUsage
from filestored.storage.verification.content import ContentCheck
from filestored.storage.verification.interfaces import Examined, Listed
from filestored.storage.verification.page_cache import drop_pages, resident_pages

_FLAGS = (FILE_FLAGS | os.O_DIRECT | os.O_NOATIME, FILE_FLAGS)
"""Flags of open(2), the best ones first: the file system, or the owner of the file, may not permit these."""


class DiskFiles:
    """The files of the store in `root`, at `path`, named by `algorithms`: the present one, then former ones.

    See `Place.opened` for the other arguments.
    """

    def __init__(
        self,
        path: str,
        root: StoreRoot,
        shards: Shards,
        algorithms: Sequence[Algorithm],
        new_check: Callable[[Algorithm], ContentCheck],
        calls: Syscalls,
        before: float | None,
        chunk_bytes: int,
        count: Callable[[int], None],
    ) -> None:
        self._path = path
        self._root = root
        self._shards = shards
        self._algorithms = {each.name: each for each in algorithms}
        self._new_check = new_check
        self._calls = calls
        self._before = before
        self._count = count
        self._quarantine = Quarantine(root, calls)
        self._buffer = mmap.mmap(-1, chunk_bytes)  # begins at a page, as O_DIRECT needs it
        self._view = memoryview(self._buffer)

    def close(self) -> None:
        """Free the buffer."""
        self._view.release()
        self._buffer.close()

    def listed(self, after: str) -> Iterator[Listed]:
        """See `VerifiedFiles`; one shard in memory at a time."""
        first = after[:SHARD_DIGITS]
        for name in SHARD_NAMES:
            if name >= first:
                yield from self._listed_shard(name, after)

    def _listed_shard(self, shard: str, after: str) -> Iterator[Listed]:
        try:
            digests = self._digests(shard)
        except ShardUnusable as error:
            yield Listed(shard, None, error.strerror or str(error))
            return
        for digest in sorted(digests, key=str):
            if digest.hex > after:
                yield Listed(digest.hex, digest)

    def _digests(self, shard: str) -> list[Digest]:
        """Return the names in one shard. Raises `StoreMissing` or `ShardUnusable`."""
        self._root.check()
        self._shards.reopen(shard)
        return [digest for each in self._algorithms.values() for digest in self._shards.listed(shard, each)]

    def entries(self, after: Digest | None, limit: int) -> list[StoredFileInfo]:
        """List files as `IBackend.entries`, for a count of the ledger."""
        own = next(iter(self._algorithms.values()))
        return self._shards.entries(own, after, limit)

    def count(self) -> int | None:
        """See `VerifiedFiles`; lists all shards."""
        found = 0
        for shard in SHARD_NAMES:
            with suppress(ShardUnusable):
                found += len(self._digests(shard))
        return found

    def parse(self, text: str) -> Digest:
        """See `VerifiedFiles`."""
        for each in self._algorithms.values():
            with suppress(MalformedDigest):
                return each.parse(text)
        raise MalformedDigest(f"{text!r} is not a name of this store")

    def exists(self, digest: Digest) -> bool:
        """See `VerifiedFiles`."""
        try:
            self._shards.describe(digest)
        except NotFound:
            return False
        return True

    def examine(self, digest: Digest, *, again: bool) -> Examined | None:
        """See `VerifiedFiles`."""
        try:
            descriptor = self._open(digest)
        except OSError as error:
            if error.errno in NO_FILE_ERRNOS:
                return None
            raise _read_failed(error, digest) from error
        with closed_after(descriptor):
            try:
                status = self._calls.fstat(descriptor)
                is_wanted = self._before is None or status.st_mtime < self._before
                if not (stat.S_ISREG(status.st_mode) and is_wanted):
                    return None
                if again:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                check = self._new_check(self._algorithms[digest.algorithm])
                self._read(descriptor, status.st_size, check)
            except OSError as error:
                raise _read_failed(error, digest) from error
        return Examined(status.st_size, check.matches(digest), _version(status))

    def quarantine(self, digest: Digest, examined: Examined, reason: str) -> bool:
        """See `VerifiedFiles`. The shared lock of the file is that of `disk_expiry`."""
        shard = self._shards.descriptors[digest.shard]
        try:
            descriptor = self._calls.open(digest.hex, FILE_FLAGS, dir_fd=shard)
        except FileNotFoundError:
            return False
        ledger = UncountedDiskUsage(self._path, cast("IBackend", self), self._calls)
        with closed_after(descriptor), closing(ledger):
            ledger.open()
            self._calls.flock(descriptor, fcntl.LOCK_SH)
            status = self._calls.fstat(descriptor)
            is_same = _version(status) == examined.version
            if not (is_same and self._quarantine.move_in(status, digest.hex, shard, reason)):
                return False
            ledger.add(Usage(-1, -examined.size))
        self._root.flush(shard)
        return True

    def _open(self, digest: Digest) -> int:
        shard = self._shards.descriptors[digest.shard]
        best, plain = _FLAGS
        try:
            return self._calls.open(digest.hex, best, dir_fd=shard)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise
        descriptor = self._calls.open(digest.hex, plain, dir_fd=shard)
        with suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        return descriptor

    def _read(self, descriptor: int, size: int, check: ContentCheck) -> None:
        """Read an open file into `check`. Raises `OSError`."""
        offset = 0
        while offset < size:
            wanted = min(len(self._view), size - offset)
            before = resident_pages(descriptor, offset, wanted)
            read = self._read_chunk(descriptor, offset)
            if (
                not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT
            ):  # another reader may have brought some
                drop_pages(descriptor, offset, before)
            if read < wanted:
                read -= read % mmap.PAGESIZE  # O_DIRECT reads whole pages; a short file is noticed below
            if read == 0:
                return
            read = min(read, wanted)
            check.update(self._view[:read])
            offset += read
            self._count(read)

    def _read_chunk(self, descriptor: int, offset: int) -> int:
        """Read a chunk into the buffer, without O_DIRECT if only opening supports that. Raises `OSError`."""
        try:
            return self._calls.preadv(descriptor, [self._view], offset)
        except OSError as error:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                raise
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        return self._calls.preadv(descriptor, [self._view], offset)


def _read_failed(error: OSError, digest: Digest) -> OSError:
    """Return the error of one file; one that concerns this process stays as it is."""
    if error.errno in LACKING:
        return error
    return ReadFailed(error.errno, error.strerror or str(error))


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_ctime_ns
