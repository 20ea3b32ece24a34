"""A store on a disk and its buckets, for verification; and its state, the file `STATE`.

The store is locked as by a daemon, so that no migration runs meanwhile (`locks`). An exclusive lock on
``FORMAT``, which only a migration replaces, keeps a second verification out; it needs no file of its own, so
a read-only store can be verified, too. Its state is not recorded then, and corrupt files stay.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress

from filestored.digest import Algorithm
from filestored.errors import UnusableStore, VerificationRunning
from filestored.storage.disk import format_file
from filestored.storage.disk.directory import StoreRoot, error_context, opened
from filestored.storage.disk.layout import BUCKETS, bucket_names, check_algorithm, has_format
from filestored.storage.disk.locks import lock_shared
from filestored.storage.disk.shards import Shards
from filestored.storage.disk.syscalls import CREATE_FLAGS, FILE_FLAGS, Syscalls, closed_after
from filestored.storage.verification.content import Naming
from filestored.storage.verification.disk_files import DiskFiles
from filestored.storage.verification.state import State, parse

STATE = ".verification"
"""File of the state, in the directory of the store."""

_NEXT = ".verification-next"
_MAX_BYTES = 64 * 1024 * 1024


class DiskPlace:
    """The store at `path`; see `Place`."""

    def __init__(self, path: str, naming: Naming | None = None, calls: Syscalls | None = None) -> None:
        self._path = path
        self._naming = naming or Naming()
        self._calls = calls or Syscalls()

    def buckets(self) -> Sequence[str]:
        """See `Place`."""
        with error_context(self._path, "store"):
            return ["", *bucket_names(self._path)]

    @contextmanager
    def opened(
        self, bucket: str, before: float | None, chunk_bytes: int, count: Callable[[int], None]
    ) -> Iterator[DiskFiles | None]:
        """See `Place`."""
        path = os.path.join(self._path, BUCKETS, bucket) if bucket else self._path
        with error_context(path, "bucket"):
            is_removed = bucket != "" and not has_format(path)
        if is_removed:
            yield None
            return
        with ExitStack() as held:
            with error_context(path, "bucket" if bucket else "store"):
                descriptor = held.enter_context(opened(path))
                algorithms = self._lock(descriptor)
                root = held.enter_context(closing(StoreRoot(descriptor, self._calls)))
                shards = held.enter_context(closing(Shards(root, self._calls)))
            new_check, calls = self._naming.new_check, self._calls
            yield held.enter_context(
                closing(
                    DiskFiles(path, root, shards, algorithms, new_check, calls, before, chunk_bytes, count)
                )
            )

    def _lock(self, root: int) -> list[Algorithm]:
        """Lock a store for reading; return its algorithm and the former ones. Raises `UnusableStore`."""
        found = format_file.required(format_file.read(root))
        own = check_algorithm(found, None, self._naming.lookup)
        lock_shared(root, found.hash, self._calls)
        return [own, *map(self._naming.lookup, found.aliases)]

    @contextmanager
    def claimed(self) -> Iterator["DiskState"]:
        """See `Place`."""
        with ExitStack() as held:
            with error_context(self._path, "store"):
                root = held.enter_context(opened(self._path))
                format_file.required(format_file.read(root))
                lock = held.enter_context(
                    closed_after(self._calls.open(format_file.NAME, FILE_FLAGS, dir_fd=root))
                )
            try:
                self._calls.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise VerificationRunning(f"another process verifies {self._path}") from None
            yield DiskState(root, self._calls)


class DiskState:
    """The state file in the store open as `root`; see `RecordedState`."""

    def __init__(self, root: int, calls: Syscalls) -> None:
        self._root = root
        self._calls = calls

    def load(self) -> State:
        """See `RecordedState`. Raises `UnusableStore` if it is no regular file."""
        try:
            status = self._calls.stat(STATE, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return State()
        if not stat.S_ISREG(status.st_mode):
            raise UnusableStore(f"{STATE} in the store is not a regular file; remove it")
        with open(self._calls.open(STATE, FILE_FLAGS, dir_fd=self._root), "rb") as file:
            return parse(file.read(_MAX_BYTES))

    def save(self, state: State) -> None:
        """See `RecordedState`; the file is replaced as a whole, by a new one that no other name leads to."""
        with suppress(FileNotFoundError):  # left by a crash
            self._calls.unlink(_NEXT, dir_fd=self._root)
        descriptor = self._calls.open(_NEXT, CREATE_FLAGS, 0o600, dir_fd=self._root)
        with open(descriptor, "wb") as file:
            file.write(state.to_json())
            file.flush()
            self._calls.fsync(descriptor)
        self._calls.rename(_NEXT, STATE, src_dir_fd=self._root, dst_dir_fd=self._root)
