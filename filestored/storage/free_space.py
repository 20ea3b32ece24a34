"""Free space above the reserve, counted while uploads are written.

In: the number of bytes that each upload is about to write. Out: `StorageFull` once nothing but the reserve
is left. The file system is asked for its free space once in `LOOK_AGAIN_BYTES` of all uploads of one store in
one process, and for each piece while there is none. So uploads use at most `LOOK_AGAIN_BYTES` of the reserve
per process and store, and one piece per I/O thread.

Rejected: to reserve the announced length of each upload. A client that announces much and sends little would
keep others from uploading.
"""

import threading

from filestored.errors import StorageFull
from filestored.interfaces import IBackend

LOOK_AGAIN_BYTES = 16 * 1024 * 1024
"""Bytes that may be written between two looks. A look takes microseconds, and 16 MiB take milliseconds."""


class FreeSpace:
    """The room of one store. `free` is the last known figure in bytes, less the reserve.

    `spend` is called in I/O threads, by many at once.
    """

    def __init__(self, backend: IBackend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._written = 0
        self.free = backend.free_space()

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
