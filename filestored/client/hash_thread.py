"""Hash of a transfer, computed in a thread beside it.

In: buffers, or ranges of a file. Out: updated hashers. `hashlib` releases the interpreter lock, so hashing
takes no time of the transfer on a second processor. At most `MAX_BLOCKS` wait; then the caller waits.
"""

import os
from collections.abc import Sequence
from queue import SimpleQueue
from threading import Semaphore, Thread
from types import TracebackType
from typing import NamedTuple, Self

from filestored.client.errors import FileError, TransferError
from filestored.digest import ALGORITHMS, Algorithm, Hasher, algorithm
from filestored.errors import UnknownAlgorithm

BLOCK_BYTES = 1 << 20
"""Bytes of a block, which is sent, received and hashed at once."""

MAX_BLOCKS = 8
"""Maximum number of blocks that wait for hashing."""

READ_BYTES = 1 << 18
"""Bytes of a range that are read and hashed at once, so that they stay in the processor's cache."""


class FileRange(NamedTuple):
    """Bytes of an open file."""

    descriptor: int
    offset: int
    size: int


class HashThread:
    """Thread that updates hash computations, which may have begun before; read them after the context."""

    def __init__(self, hashers: Sequence[Hasher]) -> None:
        self._hashers = hashers
        self._jobs: SimpleQueue[tuple[bytearray, int] | FileRange | None] = SimpleQueue()
        self._slots = Semaphore(MAX_BLOCKS)
        self._buffers: list[bytearray] = []
        self._error: OSError | None = None
        self._thread = Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

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

    def update_range(self, job: FileRange) -> None:
        """Hash bytes of a file."""
        self._slots.acquire()
        self._jobs.put(job)

    def finish(self) -> None:
        """Wait until all is hashed. Raises `FileError` if a range could not be read."""
        self._stop()
        if self._error is not None:
            raise FileError.of(self._error)

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()

    def _run(self) -> None:
        space = memoryview(bytearray(READ_BYTES))
        while (job := self._jobs.get()) is not None:
            if isinstance(job, FileRange):
                self._hash_range(job, space)
            else:
                self._hash(memoryview(job[0])[: job[1]])
                self._buffers.append(job[0])
            self._slots.release()

    def _hash_range(self, job: FileRange, space: memoryview) -> None:
        offset, end = job.offset, job.offset + job.size
        while offset < end and self._error is None:
            try:
                size = os.preadv(job.descriptor, [space[: end - offset]], offset)
            except OSError as error:
                self._error = error
                return
            if not size:
                return  # the file became shorter; the hash tells
            self._hash(space[:size])
            offset += size

    def _hash(self, data: memoryview) -> None:
        for hasher in self._hashers:
            hasher.update(data)


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
