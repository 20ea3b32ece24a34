"""A store on a disk, opened by a command, also beside running daemons. Blocking.

As a daemon the command holds the shared lock of the store, so that no migration starts meanwhile.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial

from filestored.digest import algorithm
from filestored.errors import UnusableStore
from filestored.storage.disk import format_file
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.directory import error_context, inspect
from filestored.storage.disk.layout import BUCKETS, bucket_names, check_algorithm, has_format
from filestored.storage.disk.quarantine import QUARANTINE, REASON
from filestored.storage.disk.syscalls import DIRECTORY_FLAGS, Syscalls, closed_after
from filestored.storage.disk.temp_files import (
    TMP_DIR,
    locked_if_stale,
    remove_if_stale,
    temp_names,
)
from filestored.storage.limits.disk_usage import DiskUsage, UncountedDiskUsage
from filestored.storage.limits.limited_backend import LimitedBackend
from filestored.storage.maintenance.opened_bucket import Leftover, OpenedBucket, Space


class DiskStore:
    """The store in the directory `path`; see `OpenedStore`. Raises `UnusableStore`."""

    def __init__(self, path: str) -> None:
        self._path = path
        with error_context(path, "store"):
            self.format = _read_format(path)

    def bucket_names(self) -> list[str]:
        """See `OpenedStore.bucket_names`."""
        return bucket_names(self._path)

    @contextmanager
    def opened(self, bucket: str | None, *, counts: bool = False) -> Iterator[OpenedBucket]:
        """See `OpenedStore.opened`."""
        path = self._path if bucket is None else os.path.join(self._path, BUCKETS, bucket)
        with error_context(path, "store" if bucket is None else "bucket"):
            exists = bucket is None or has_format(path)
        if not exists:
            raise UnusableStore(f"the store {self._path} has no bucket {bucket}")
        with error_context(path, "store" if bucket is None else "bucket"):
            own = check_algorithm(_read_format(path), None, algorithm)
            backend = DiskBackend(path, own)
        with closing(backend), closing(_limited(backend, path, counts)) as limited:
            yield OpenedBucket(path, own, limited, DiskTempFiles(path), DiskQuarantine(path))

    def space(self) -> Space:
        """Return the space of the file system by statvfs(3)."""
        found = os.statvfs(self._path)
        return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


class DiskTempFiles:
    """Files in ``tmp/`` of a bucket at `path` whose processes have ended; see `Leftovers`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._calls = Syscalls()

    def __iter__(self) -> Iterator[Leftover]:
        """Yield files that are not locked."""
        with closed_after(os.open(self._path, DIRECTORY_FLAGS)) as root:
            for name, tmp in temp_names(root, self._calls):
                with locked_if_stale(name, tmp, self._calls) as status:
                    pass
                if status is not None:
                    yield Leftover(f"{TMP_DIR}/{name}", status.st_size, status.st_mtime)

    def remove(self, leftover: Leftover) -> bool:
        """Remove a file under its lock."""
        with closed_after(os.open(os.path.join(self._path, TMP_DIR), DIRECTORY_FLAGS)) as tmp:
            return remove_if_stale(os.path.basename(leftover.path), tmp, self._calls)


class DiskQuarantine:
    """Files in ``quarantine/`` of a bucket at `path`; see `Leftovers`."""

    def __init__(self, path: str) -> None:
        self._path = os.path.join(path, QUARANTINE)

    def __iter__(self) -> Iterator[Leftover]:
        """Yield regular files; a rename into quarantine sets ``st_ctime``."""
        try:
            entries = os.scandir(self._path)
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and not self._is_reason(entry.name):
                        moved = max(status.st_mtime, status.st_ctime)
                        yield Leftover(f"{QUARANTINE}/{entry.name}", status.st_size, moved)

    def _is_reason(self, name: str) -> bool:
        """Return whether a file is the reason of another one that is there."""
        return name.endswith(REASON) and os.path.lexists(f"{self._path}/{name.removesuffix(REASON)}")

    def remove(self, leftover: Leftover) -> bool:
        """Remove a file, then its reason, under the lock of `Quarantine`."""
        name = os.path.basename(leftover.path)
        with closed_after(os.open(self._path, DIRECTORY_FLAGS)) as quarantine:
            fcntl.flock(quarantine, fcntl.LOCK_EX)
            try:
                os.unlink(name, dir_fd=quarantine)
            except FileNotFoundError:
                return False
            with suppress(FileNotFoundError):
                os.unlink(name + REASON, dir_fd=quarantine)
            return True


def _read_format(path: str) -> format_file.StoreFormat:
    """Return the format of a store that exists. Raises `UnusableStore` or `OSError`."""
    return format_file.required(inspect(path, "store") if has_format(path) else None)


def _limited(backend: DiskBackend, path: str, counts: bool) -> LimitedBackend:
    """Return the backend with exact usage after removals."""
    limited = LimitedBackend(backend, partial(DiskUsage if counts else UncountedDiskUsage, path))
    limited.record_removals()
    return limited
