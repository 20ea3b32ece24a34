"""In-memory backend and records: for tests, and the reference implementation of the interfaces.

It passes the same contract suite as the disk backend. `capacity` limits it like a full disk.
"""

import errno
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from zope.interface import implementer

from filestored.digest import Algorithm, Digest, algorithm
from filestored.errors import Collision, NotFound
from filestored.interfaces import (
    IAliases,
    IBackend,
    IQuarantine,
    IRecords,
    ISink,
    IStoredFile,
    StoredFileInfo,
)


@implementer(IBackend, IAliases, IQuarantine)
class MemoryBackend:
    """Byte strings in a dictionary, at most `capacity` bytes; `aliases` maps former to current digests."""

    def __init__(
        self, own: Algorithm, capacity: int = 2**40, aliases: Mapping[Digest, Digest] | None = None
    ) -> None:
        self._algorithm = own
        self._aliases = aliases or {}
        self.alias_algorithms = tuple(map(algorithm, sorted({digest.algorithm for digest in self._aliases})))
        self._capacity = capacity
        self._files: dict[Digest, bytes] = {}
        self._changed: dict[Digest, float] = {}
        self._aside: dict[Digest, bytes] = {}
        self._lock = threading.Lock()

    def begin(self) -> ISink:
        """Return a sink that buffers its bytes."""
        return MemorySink(self)

    def flush_names(self, digests: Iterable[Digest]) -> None:
        """Do nothing."""

    def open(self, digest: Digest) -> "MemoryFile":
        """Open a file, which stays readable after a deletion."""
        try:
            return MemoryFile(self._files[digest])
        except KeyError:
            raise NotFound from None

    def delete(self, digest: Digest) -> bool:
        """Delete a file; open files stay readable."""
        with self._lock:
            return self._files.pop(digest, None) is not None

    def digests(self, after: Digest | None, limit: int) -> list[Digest]:
        """Return the digests after `after` in order."""
        with self._lock:
            names = sorted(self._files, key=str)
        return [digest for digest in names if not after or digest.hex > after.hex][:limit]

    def describe(self, digest: Digest) -> StoredFileInfo:
        """Return size and time of a file."""
        with self._lock:
            if digest not in self._files:
                raise NotFound
            return StoredFileInfo(digest, len(self._files[digest]), self._changed[digest])

    def entries(self, after: Digest | None, limit: int) -> list[StoredFileInfo]:
        """Return the files after `after` in order."""
        with self._lock:
            names = sorted(self._files, key=str)
            found = [digest for digest in names if not after or digest.hex > after.hex][:limit]
            return [StoredFileInfo(each, len(self._files[each]), self._changed[each]) for each in found]

    def free_space(self) -> int:
        """Return the unused capacity."""
        with self._lock:
            return self._capacity - sum(map(len, self._files.values()))

    def resolve(self, digest: Digest) -> Digest:
        """Look the digest up."""
        try:
            return self._aliases[digest]
        except KeyError:
            raise NotFound from None

    def changed_at(self, digest: Digest) -> float:
        """Return when the file was stored."""
        if digest not in self._files:
            raise NotFound
        return self._changed[digest]

    def move_to_quarantine(self, digest: Digest, reason: str) -> bool:
        """Move the file to a second dictionary; the reason is dropped."""
        return self._move(digest, self._files, self._aside)

    def restore(self, digest: Digest) -> bool:
        """Move the file back."""
        return self._move(digest, self._aside, self._files)

    def _move(self, digest: Digest, source: dict[Digest, bytes], target: dict[Digest, bytes]) -> bool:
        with self._lock:
            if digest not in source or digest in target:
                return False
            target[digest] = source.pop(digest)
            return True

    def put(self, digest: Digest, data: bytes) -> bool:
        """Store `data` as `ISink.publish` requires; return whether it is new."""
        with self._lock:
            stored = self._files.get(digest)
            if stored == data:
                return False
            if stored is not None and self._algorithm.digest(stored) == digest:
                raise Collision
            self._files[digest] = data
            self._changed[digest] = time.time()
            return True


@implementer(ISink)
class MemorySink:
    """An upload to a `MemoryBackend`."""

    encoding = None

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self._data = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Raises `OSError` (ENOSPC) beyond the capacity."""
        if len(self._data) + len(data) > self._backend.free_space():
            raise OSError(errno.ENOSPC, "the capacity is used up")
        self._data += data

    def seal(self, flush: bool = True) -> None:
        """Do nothing."""

    def publish(self, digest: Digest) -> bool:
        """Store the bytes in the backend."""
        return self._backend.put(digest, bytes(self._data))

    def discard(self) -> None:
        """Drop the bytes."""
        self._data = bytearray()


@implementer(IStoredFile)
class MemoryFile:
    """An open file in memory; `size` in bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, count: int) -> bytes:
        """Return a slice."""
        return self._data[offset : offset + count]

    def close(self) -> None:
        """Do nothing."""


@implementer(IRecords)
class MemoryRecords:
    """Records in a dictionary. A waiting change blocks new contexts of `held`."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._lock = threading.Condition()
        self._holders: Counter[str] = Counter()
        self._changing: set[str] = set()

    def create(self, name: str, value: bytes) -> bool:
        """Set the value, unless it exists."""
        with self._lock:
            if name in self._values:
                return False
            self._values[name] = value
            return True

    def replace(self, name: str, old: bytes, new: bytes) -> bool:
        """Replace the value."""
        with self._exclusive(name):
            if self._values.get(name) != old:
                return False
            self._values[name] = new
            return True

    def remove(self, name: str, old: bytes) -> bool:
        """Remove the value."""
        with self._exclusive(name):
            return self._values.get(name) == old and self._values.pop(name) == old

    @contextmanager
    def held(self, name: str, value: bytes) -> Iterator[bool]:
        """Count a holder, if the value is equal."""
        with self._lock:
            self._lock.wait_for(lambda: name not in self._changing)
            holds = self._values.get(name) == value
            self._holders[name] += holds
        try:
            yield holds
        finally:
            with self._lock:
                self._holders[name] -= holds
                self._lock.notify_all()

    def read(self, name: str) -> bytes | None:
        """Return the value or None."""
        return self._values.get(name)

    def read_all(self, prefix: str) -> Iterator[tuple[str, bytes | None]]:
        """Yield the values directly below the prefix."""
        for name in self.names(prefix):
            last, value = name.removeprefix(prefix + "/"), self._values.get(name)
            if "/" not in last and value is not None:
                yield last, value

    def entries(self, prefix: str) -> list[str]:
        """Return the first segments below the prefix."""
        return sorted({name.removeprefix(prefix + "/").split("/")[0] for name in self.names(prefix)})

    def names(self, prefix: str) -> list[str]:
        """Return all names below the prefix."""
        with self._lock:
            return sorted(name for name in self._values if name.startswith(prefix + "/"))

    def is_empty(self, prefix: str) -> bool:
        """Return False: nothing is left of removed records."""
        return False

    @contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        """Wait until `name` has no holders and no other change, with the lock."""
        with self._lock:
            self._lock.wait_for(lambda: name not in self._changing)
            self._changing.add(name)
            try:
                self._lock.wait_for(lambda: not self._holders[name])
                yield
            finally:
                self._changing.discard(name)
                self._lock.notify_all()
