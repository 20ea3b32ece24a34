"""Files in memory: small and true. A store that forgets when the process ends.

It keeps every clause of `IBackend` and runs the same contract suite as the disk, so tests
of all other floors use it as their store. `capacity` makes it run full like a disk.
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
from filestored.interfaces import IAliases, IBackend, IQuarantine, IRecords, ISink, IStoredFile


@implementer(IBackend, IAliases, IQuarantine)
class MemoryBackend:
    """Byte strings in a dictionary, `capacity` bytes of them at most.

    `former` maps names that files had to those that they have.
    """

    def __init__(
        self, own: Algorithm, capacity: int = 2**40, former: Mapping[Digest, Digest] | None = None
    ) -> None:
        self._algorithm = own
        self._names = former or {}
        self.former = tuple(map(algorithm, sorted({digest.algorithm for digest in self._names})))
        self._capacity = capacity
        self._files: dict[Digest, bytes] = {}
        self._changed: dict[Digest, float] = {}
        self._aside: dict[Digest, bytes] = {}
        self._lock = threading.Lock()

    def begin(self) -> ISink:
        """A sink that gathers its bytes."""
        return MemorySink(self)

    def flush_names(self, digests: Iterable[Digest]) -> None:
        """Memory has nothing to flush."""

    def open(self, digest: Digest) -> "MemoryFile":
        """What is stored; it stays readable when deleted."""
        try:
            return MemoryFile(self._files[digest])
        except KeyError:
            raise NotFound from None

    def delete(self, digest: Digest) -> bool:
        """Take the bytes away; whoever has them open keeps them."""
        with self._lock:
            return self._files.pop(digest, None) is not None

    def digests(self, after: Digest | None, limit: int) -> list[Digest]:
        """The digests behind `after`, in order."""
        with self._lock:
            names = sorted(self._files, key=str)
        return [digest for digest in names if not after or digest.hex > after.hex][:limit]

    def free_space(self) -> int:
        """What is left of the capacity."""
        with self._lock:
            return self._capacity - sum(map(len, self._files.values()))

    def current(self, digest: Digest) -> Digest:
        """What the mapping says."""
        try:
            return self._names[digest]
        except KeyError:
            raise NotFound from None

    def changed_at(self, digest: Digest) -> float:
        """When the bytes were stored."""
        if digest not in self._files:
            raise NotFound
        return self._changed[digest]

    def move_to_quarantine(self, digest: Digest, reason: str) -> bool:
        """Keep the bytes in a second dictionary; the reason is dropped."""
        return self._move(digest, self._files, self._aside)

    def restore(self, digest: Digest) -> bool:
        """Move the bytes back from the second dictionary."""
        return self._move(digest, self._aside, self._files)

    def _move(self, digest: Digest, source: dict[Digest, bytes], target: dict[Digest, bytes]) -> bool:
        with self._lock:
            if digest not in source or digest in target:
                return False
            target[digest] = source.pop(digest)
            return True

    def put(self, digest: Digest, data: bytes) -> bool:
        """Store `data` as `ISink.publish` demands; True when it is new."""
        with self._lock:
            stored = self._files.get(digest)
            if stored == data:
                return False
            if stored is not None and self._digest(stored) == digest:
                raise Collision
            self._files[digest] = data
            self._changed[digest] = time.time()
            return True

    def _digest(self, data: bytes) -> Digest:
        hasher = self._algorithm.new()
        hasher.update(data)
        return self._algorithm.finish(hasher)


@implementer(ISink)
class MemorySink:
    """An upload to a `MemoryBackend`."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self._data = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; raises `OSError` (ENOSPC) beyond the capacity."""
        if len(self._data) + len(data) > self._backend.free_space():
            raise OSError(errno.ENOSPC, "the memory set aside for files is full")
        self._data += data

    def seal(self, flush: bool = True) -> None:
        """Memory has nothing to flush."""

    def publish(self, digest: Digest) -> bool:
        """Hand the bytes to the backend."""
        return self._backend.put(digest, bytes(self._data))

    def discard(self) -> None:
        """Forget the bytes."""
        self._data = bytearray()


@implementer(IStoredFile)
class MemoryFile:
    """An open file in memory; `size` in bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, count: int) -> bytes:
        """A slice of the bytes."""
        return self._data[offset : offset + count]

    def close(self) -> None:
        """Memory has nothing to let go of."""


@implementer(IRecords)
class MemoryRecords:
    """Small named values in a dictionary.

    `held` counts its contexts. A change that waits for them keeps new ones out meanwhile.
    """

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._lock = threading.Condition()
        self._holders: Counter[str] = Counter()
        self._changing: set[str] = set()

    def create(self, name: str, value: bytes) -> bool:
        """Keep the value, unless there is one."""
        with self._lock:
            if name in self._values:
                return False
            self._values[name] = value
            return True

    def replace(self, name: str, old: bytes, new: bytes) -> bool:
        """Keep the new value instead of the old one."""
        with self._alone(name):
            if self._values.get(name) != old:
                return False
            self._values[name] = new
            return True

    def remove(self, name: str, old: bytes) -> bool:
        """Forget the value."""
        with self._alone(name):
            return self._values.get(name) == old and self._values.pop(name) == old

    @contextmanager
    def held(self, name: str, value: bytes) -> Iterator[bool]:
        """Count one more holder, if the value is that one."""
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
        """The value, or None."""
        return self._values.get(name)

    def read_all(self, prefix: str) -> Iterator[tuple[str, bytes | None]]:
        """The values directly below the prefix, as they are now."""
        for name in self.names(prefix):
            last, value = name.removeprefix(prefix + "/"), self._values.get(name)
            if "/" not in last and value is not None:
                yield last, value

    def entries(self, prefix: str) -> list[str]:
        """The first segments below the prefix."""
        return sorted({name.removeprefix(prefix + "/").split("/")[0] for name in self.names(prefix)})

    def names(self, prefix: str) -> list[str]:
        """All names below the prefix."""
        with self._lock:
            return sorted(name for name in self._values if name.startswith(prefix + "/"))

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """The lock, at a moment at which there is no holder of `name` and no other change of it."""
        with self._lock:
            self._lock.wait_for(lambda: name not in self._changing)
            self._changing.add(name)
            try:
                self._lock.wait_for(lambda: not self._holders[name])
                yield
            finally:
                self._changing.discard(name)
                self._lock.notify_all()
