"""Hash of a download, computed in a thread beside it.

In: buffers. Out: updated hashers. `hashlib` releases the interpreter lock, so hashing takes no time of the
transfer on a second processor. At most `MAX_BLOCKS` wait; then the caller waits.
"""

from collections.abc import Sequence
from queue import SimpleQueue
from threading import Semaphore, Thread
from types import TracebackType
from typing import Self

from filestored.client.errors import TransferError
from filestored.digest import ALGORITHMS, Algorithm, Hasher, algorithm
from filestored.errors import UnknownAlgorithm

BLOCK_BYTES = 1 << 20
"""Maximum number of bytes of a block, which is received and hashed at once."""

MAX_BLOCKS = 8
"""Maximum number of blocks that wait for hashing."""


class HashThread:
    """Thread that updates hash computations, which may have begun before; read them after the context."""

    def __init__(self, hashers: Sequence[Hasher]) -> None:
        self._hashers = hashers
        self._jobs: SimpleQueue[tuple[bytearray, int] | None] = SimpleQueue()
        self._slots = Semaphore(MAX_BLOCKS)
        self._buffers: list[bytearray] = []
        self._thread = Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._jobs.put(None)
        self._thread.join()

    def buffer(self) -> bytearray:
        """Return a buffer of `BLOCK_BYTES`, for `update`."""
        self._slots.acquire()
        try:
            return self._buffers.pop()
        except IndexError:
            return bytearray(BLOCK_BYTES)

    def update(self, buffer: bytearray, size: int) -> None:
        """Hash the first `size` bytes of a buffer of `buffer`, which is used again afterwards."""
        self._jobs.put((buffer, size))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            buffer, size = job
            for hasher in self._hashers:
                hasher.update(memoryview(buffer)[:size])
            self._buffers.append(buffer)
            self._slots.release()


def algorithms_of(text: str) -> list[Algorithm]:
    """Return the algorithms that are available here and whose hashes have this length.

    Raises `TransferError` without any.
    """
    found = []
    for name in ALGORITHMS:
        try:
            each = algorithm(name)
        except UnknownAlgorithm:
            continue
        if len(text) == 2 * each.size:
            found.append(each)
    if not found:
        raise TransferError(f"no algorithm has hashes of {len(text)} digits")
    return found
