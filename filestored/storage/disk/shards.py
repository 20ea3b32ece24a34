"""Shards: the 256 directories of a store, open from start to end.

A shard is named by the first digits of its digests. Files are accessed by their bare name in an open shard,
so no path can be redirected. A failed flush of a shard is reported to every process that has it open, so no
process can mistake a later, empty flush for a success.

A shard that is missing or unreadable at the start is opened again on demand: only its files fail. A shard may
also be removed or replaced while it is open, as by ``find store -type d -empty -delete`` or a restore. When a
name is not found in it, the shard is compared with the directory of its name, and opened again; an upload
creates it. dup2(2) keeps the descriptor number, so a concurrent thread uses one directory or the other.
"""

import errno
import os
import stat
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice

from twisted.logger import Logger

from filestored.bounded_cache import BoundedCache
from filestored.digest import Algorithm, Digest
from filestored.errors import MalformedDigest, NotFound, UnusableStore
from filestored.interfaces import StoredFileInfo
from filestored.storage.disk.directory import StoreRoot
from filestored.storage.disk.syscalls import DIRECTORY_FLAGS, Syscalls, closed_after
from filestored.storage.health import ReadFailed, ShardUnusable

SHARD_NAMES = tuple(f"{number:02x}" for number in range(256))

MAX_CACHED_SHARDS = 2
"""Number of shards whose names are kept for the next page of a list: one for each thread of lists.

Of a million files a shard has 4,000. Without the cache a list by pages of 250 takes twice the time.
"""

MAX_NAMES_SECONDS = 2.0
"""Maximum time for which names are kept."""

MIN_UNCHANGED_SECONDS = 1.0
"""Minimum age of the last change of a directory whose names are kept. Times of files have steps of 4 ms."""


class Shards:
    """The shards of the store in `root`, which must stay open. Blocking.

    `descriptors` maps names to descriptors; a shard that cannot be opened raises `ShardUnusable`. Raises
    `UnusableStore` when a shard is not a directory of the same file system, or without free descriptors.
    """

    _log = Logger()

    def __init__(self, root: StoreRoot, calls: Syscalls) -> None:
        self._calls = calls
        self._root = root
        self._device = os.fstat(root.descriptor).st_dev
        self.descriptors: dict[str, int] = _LazyDescriptors(self._open)
        self._name_cache: BoundedCache[str, _ShardNames] = BoundedCache(MAX_CACHED_SHARDS)
        self._name_cache_lock = threading.Lock()
        try:
            self._open_all()
        except BaseException:
            self.close()
            raise

    def flush_names(self, digests: Iterable[Digest]) -> None:
        """Flush the shard of each digest once, as `StoreRoot.flush` does. Raises `OSError`."""
        self._root.flush_shards(self.descriptors, digests)

    def reopen(self, name: str) -> bool:
        """Open a shard again if its directory was replaced; return whether it was.

        Raises `StoreMissing` or `OSError`.
        """
        held, root = self.descriptors[name], self._root.descriptor
        try:
            now = self._calls.stat(name, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            self._root.check()
            return False
        if os.path.samestat(now, self._calls.fstat(held)):
            return False
        replacement = self._calls.open(name, DIRECTORY_FLAGS, dir_fd=root)
        with closed_after(replacement):
            if self._calls.fstat(replacement).st_dev != self._calls.fstat(root).st_dev:
                raise OSError(errno.EXDEV, f"the directory {name} is on another file system")
            os.dup2(replacement, held, inheritable=False)
        self._log.warn("the directory {name} of the store was replaced and is open again", name=name)
        return True

    def restore(self, name: str) -> bool:
        """As `reopen`; creates a removed shard before, durably."""
        if self.reopen(name):
            return True
        self._root.make(name)
        return self.reopen(name)

    def digests(self, algorithm: Algorithm, after: Digest | None, limit: int) -> list[Digest]:
        """Return at most `limit` digests of regular files in ascending order, after `after`."""
        found: list[Digest] = []
        first, lowest = (after.shard, after.hex) if after else (SHARD_NAMES[0], "")
        for shard in SHARD_NAMES[SHARD_NAMES.index(first) :]:
            names = self._sorted_files(shard)
            for name in islice(names, bisect_right(names, lowest), None):
                if len(found) == limit:
                    return found
                if digest := _parse(name, shard, algorithm):
                    found.append(digest)
        return found

    def describe(self, digest: Digest) -> StoredFileInfo:
        """Return size and modification time of a regular file. Raises `NotFound` or `OSError`."""
        while True:
            try:
                shard = self.descriptors[digest.shard]
                status = self._calls.stat(digest.hex, dir_fd=shard, follow_symlinks=False)
                break
            except FileNotFoundError:
                if not self.reopen(digest.shard):
                    raise NotFound from None
            except ShardUnusable:
                raise
            except OSError as error:
                raise ReadFailed.of(error, f"{digest.shard}/{digest}") from error
        if not stat.S_ISREG(status.st_mode):
            raise NotFound
        return StoredFileInfo(digest, status.st_size, status.st_mtime)

    def entries(self, algorithm: Algorithm, after: Digest | None, limit: int) -> list[StoredFileInfo]:
        """Return at most `limit` files as `digests` does; fewer are the last ones. Raises `OSError`."""
        found: list[StoredFileInfo] = []
        while wanted := limit - len(found):
            page = self.digests(algorithm, after, wanted)
            for digest in page:
                with suppress(NotFound):  # deleted since it was listed
                    found.append(self.describe(digest))
            if len(page) < wanted:
                break
            after = page[-1]
        return found

    def listed(self, shard: str, algorithm: Algorithm) -> list[Digest]:
        """Return the digests of the regular files in one shard. Raises `ShardUnusable`."""
        return [digest for name in self._files(shard) if (digest := _parse(name, shard, algorithm))]

    def close(self) -> None:
        """Close all shards."""
        for descriptor in self.descriptors.values():
            os.close(descriptor)
        self.descriptors.clear()

    def _open_all(self) -> None:
        unusable = []
        for name in SHARD_NAMES:
            try:
                self._open(name)
            except ShardUnusable as error:
                unusable.append(str(error))
        if unusable:
            self._log.error(
                "{count} of the store's directories cannot be used; the first is {first}",
                count=len(unusable),
                first=unusable[0],
            )

    def _restrict_mode(self, name: str, shard: int, mode: int) -> None:
        """Remove write permission of group and others, who could replace files."""
        try:
            self._calls.fchmod(shard, mode & ~0o022)
        except OSError as error:
            self._log.warn("others can write into {name}: {reason}", name=name, reason=error.strerror)
        else:
            self._log.warn("others could write into {name}; that is over", name=name)

    def _open(self, name: str) -> int:
        """Open a shard and store its descriptor. Raises `ShardUnusable` or `UnusableStore`."""
        try:
            descriptor = self._calls.open(name, DIRECTORY_FLAGS, dir_fd=self._root.descriptor)
        except OSError as error:
            if error.errno in _UNUSABLE_ERRNOS:
                lacking = error.errno in (errno.EMFILE, errno.ENFILE)
                advice = "; raise the limit of open files (ulimit -n)" if lacking else ""
                raise UnusableStore(
                    f"its directory {name} cannot be opened: {error.strerror}{advice}"
                ) from error
            raise ShardUnusable(error.errno, f"the directory {name}: {error.strerror}") from error
        try:
            self._check(name, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        kept = self.descriptors.setdefault(name, descriptor)
        if kept != descriptor:  # another thread was faster
            os.close(descriptor)
        return kept

    def _check(self, name: str, shard: int) -> None:
        """Check device and mode of an open shard. Raises `ShardUnusable` or `UnusableStore`."""
        try:
            status = self._calls.fstat(shard)
        except OSError as error:
            raise ShardUnusable(error.errno, f"the directory {name}: {error.strerror}") from error
        if status.st_dev != self._device:
            raise UnusableStore(f"it spans file systems: {name} is on another one")
        if (mode := stat.S_IMODE(status.st_mode)) & 0o022:
            self._restrict_mode(name, shard, mode)

    def _files(self, shard: str) -> list[str]:
        """Return the names of the regular files in one shard. Raises `ShardUnusable`."""
        with _shard_errors(shard):
            return self._read_names(shard)

    def _sorted_files(self, shard: str) -> Sequence[str]:
        """As `_files`, in ascending order; from the cache if the directory is unchanged."""
        with _shard_errors(shard):
            status = self._calls.fstat(self.descriptors[shard])
            known = self._name_cache.get(shard)
            if known is not None and known.is_of(status):
                return known.names
            found = _ShardNames(sorted(self._read_names(shard)), status)
        with self._name_cache_lock:
            self._name_cache.add(shard, found)
        return found.names

    def _read_names(self, shard: str) -> list[str]:
        """Read through a new descriptor with its own position. Raises `OSError`."""
        descriptor = self._calls.open(".", DIRECTORY_FLAGS, dir_fd=self.descriptors[shard])
        with closed_after(descriptor), self._calls.scandir(descriptor) as entries:
            return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]


class _ShardNames:
    """The `names` in a directory, which had the status `status` before they were read."""

    def __init__(self, names: Sequence[str], status: os.stat_result) -> None:
        self.names = names
        self._identity = _identity(status)
        changed_ago = time.time() - status.st_mtime
        is_settled = changed_ago > MIN_UNCHANGED_SECONDS  # later changes have another time
        self._expires = time.monotonic() + (MAX_NAMES_SECONDS if is_settled else 0.0)

    def is_of(self, status: os.stat_result) -> bool:
        """Return whether the directory is unchanged, as far as its status tells."""
        return self._identity == _identity(status) and time.monotonic() < self._expires


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_mtime_ns


@contextmanager
def _shard_errors(shard: str) -> Iterator[None]:
    """Convert errors of reading a directory within the context to `ShardUnusable`."""
    try:
        yield
    except ShardUnusable:
        raise
    except OSError as error:
        raise ShardUnusable(error.errno, f"the directory {shard}: {error.strerror}") from error


class _LazyDescriptors(dict[str, int]):
    """Descriptors by name; `find` opens a missing one."""

    def __init__(self, find: Callable[[str], int]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, name: str) -> int:
        return self._find(name)


_UNUSABLE_ERRNOS = {errno.ENOTDIR, errno.ELOOP, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Not a directory, a symbolic link; no free descriptors or memory."""


def _parse(name: str, shard: str, algorithm: Algorithm) -> Digest | None:
    """Return the digest of a name; None unless it is one that belongs in the shard."""
    try:
        return algorithm.parse(name) if name.startswith(shard) else None
    except MalformedDigest:
        return None
