"""Free space above the reserve, counted while uploads are written.

In: the announced length of each upload that begins, and the number of bytes that each is about to write. Out:
`StorageFull` once nothing but the reserve is left. The file system is asked for its free space once in
`LOOK_AGAIN_BYTES` of all uploads of one store in one process, and for each piece while there is none. So
uploads use at most `LOOK_AGAIN_BYTES` of the reserve per process and store, and one piece per I/O thread.

Uploads that have announced a length and not written it yet claim the difference, so that several large ones
are not let in for the same room.
"""

import threading

from filestored.errors import StorageFull
from filestored.interfaces import IBackend

LOOK_AGAIN_BYTES = 16 * 1024 * 1024
"""Bytes that may be written between two looks. A look takes microseconds, and 16 MiB take milliseconds."""

SMALL_BYTES = 64 * 1024
"""Bytes up to which the length of an upload is not compared with the claims of others."""


class Claim:
    """The room of one upload of `length` bytes, 0 being unknown."""

    __slots__ = ("_headroom", "_left")

    def __init__(self, headroom: "Headroom", length: int) -> None:
        self._headroom = headroom
        self._left = length

    @property
    def left(self) -> int:
        """Bytes that were announced and not written yet."""
        return max(0, self._left)

    def spend(self, count: int) -> None:
        """Count bytes that are about to be written. Blocking. Raises `StorageFull` or `OSError`."""
        self._left -= count
        self._headroom.spend(count)


class Headroom:
    """The room of one store. `free` is the last known figure in bytes, less the reserve.

    Claims are made and released in the reactor's thread; `spend` is called in I/O threads, by many at once.
    """

    def __init__(self, backend: IBackend) -> None:
        self._backend = backend
        self._claims: set[Claim] = set()
        self._lock = threading.Lock()
        self._written = 0
        self.free = backend.free_space()

    def claim(self, length: int) -> Claim:
        """Begin an upload; `length` in bytes as announced, 0 being unknown."""
        claim = Claim(self, length)
        self._claims.add(claim)
        return claim

    def release(self, claim: Claim) -> None:
        """End an upload."""
        self._claims.discard(claim)

    def suffices(self, length: int) -> bool:
        """Whether there is room for `length` more bytes, beside what is claimed; for one byte if unknown."""
        if length <= SMALL_BYTES:
            return self.free >= max(length, 1)
        return self.free >= length + sum(claim.left for claim in self._claims)

    def spend(self, count: int) -> None:
        """Count bytes that are about to be written; look whether there is room when that is due. Blocking.

        Raises `StorageFull` when there is none, or `OSError`.
        """
        with self._lock:
            self._written += count
            due = self._written >= LOOK_AGAIN_BYTES
        if due:
            self._look()

    def _look(self) -> None:
        self.free = free = self._backend.free_space()
        if free <= 0:
            raise StorageFull  # and the next piece looks again
        with self._lock:
            self._written = 0
