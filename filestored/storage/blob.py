"""Blobs: open stored byte strings, and the push producer of a range.

A `Blob` owns an `IStoredFile` and reads it in I/O threads. It may be closed at any time: the file is closed
when no read runs, and a running producer is stopped. A `FileBlob` is a regular file, which `IFileSource` lets
a request send itself. An `InMemoryBlob` has its bytes in memory.

A `RangeProducer` reads a chunk, waits while it is paused, writes, and continues. It holds at most one chunk,
or two of a stream (`IReadAhead`).
"""

import errno
import os
from collections.abc import Callable
from time import monotonic
from typing import cast

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.digest import Digest
from filestored.errors import Overloaded
from filestored.interfaces import IBlob, IFileSource, IInMemory, IReadAhead, IRevalidatable, IStoredFile
from filestored.storage.health import Health, raise_classified
from filestored.storage.read_circuit_breaker import MAX_READ_SECONDS, ReadCircuitBreaker
from filestored.storage.thread_pool import Run

READ_CHUNK_BYTES = 256 * 1024
"""Maximum bytes per read."""

STREAM_CHUNK_BYTES = 2 * READ_CHUNK_BYTES
"""The same for a stream, whose chunks have a size of their own: they are not divided."""

CLOSE_IN_THREAD_MIN_BYTES = 1024 * 1024
"""Size from which files are closed in a thread: freeing a deleted file takes time."""


@implementer(IBlob)
class Blob:
    """The content of `digest`, read from `file` by `run`; `breaker` measures reads."""

    __slots__ = (
        "_breaker",
        "_closed",
        "_file",
        "_health",
        "_producer",
        "_reads",
        "_run",
        "_streams",
        "digest",
        "size",
    )

    def __init__(
        self,
        digest: Digest,
        file: IStoredFile,
        run: Run,
        health: Health,
        breaker: ReadCircuitBreaker | None = None,
    ) -> None:
        self.digest = digest
        self.size = file.size
        self._file = file
        self._run = run
        self._health = health
        self._breaker = breaker or ReadCircuitBreaker()
        self._producer: RangeProducer | None = None
        self._streams = IReadAhead.providedBy(file)
        self._reads = 0
        self._closed = False

    def produce(self, consumer: IConsumer, start: int, stop: int) -> "Deferred[None]":
        """See `IBlob.produce`; one range at a time. Cancelling the Deferred stops it."""
        assert self._producer is None, "one range at a time"
        if self._streams:
            cast("IReadAhead", self._file).will_read(start, stop)
        producer = self._producer = RangeProducer(self, consumer, start, stop, ahead=self._streams)
        done: Deferred[None] = Deferred(lambda _: producer.stopProducing())

        def finish(result: Failure | None) -> None:
            if not done.called:
                done.callback(result)

        Deferred.fromCoroutine(self._deliver(producer)).addBoth(finish)
        return done

    async def read(self, start: int, stop: int) -> bytes:
        """Read at least one byte of the half-open range. Raises `OSError`."""
        self._reads += 1
        try:
            count = min(STREAM_CHUNK_BYTES if self._streams else READ_CHUNK_BYTES, stop - start)
            data = await self._run(self._read_if_wanted, start, count)
        except OSError as error:
            raise_classified(self._health.classify_read, error)
        finally:
            self._reads -= 1
            if self._closed and not self._reads:
                self._release()
        if not data and self._is_stopped():
            raise CancelledError
        if not data:
            raise OSError(errno.EIO, "the file ended before its bytes did")
        return data

    def close(self) -> None:
        """Stop producing; close the file once no read runs."""
        if self._closed:
            return
        self._closed = True
        if self._producer is not None:
            self._producer.stopProducing()
        if not self._reads:
            self._release()

    def _read_if_wanted(self, start: int, count: int) -> bytes:
        """Read in an I/O thread, unless the consumer has stopped meanwhile."""
        return b"" if self._is_stopped() else self._breaker.call(self._file.read, start, count)

    def _is_stopped(self) -> bool:
        return self._producer is not None and self._producer.stopped

    async def _deliver(self, producer: "RangeProducer") -> None:
        try:
            await producer.run()
        finally:
            self._producer = None

    def _release(self) -> None:
        if self._closes_in_thread():
            self._run(self._file.close).addErrback(self._close_here)
        else:
            self._file.close()

    def _close_here(self, failure: Failure) -> None:
        """Close the file here, because no thread could be started."""
        failure.trap(Overloaded)
        self._file.close()

    def _closes_in_thread(self) -> bool:
        return self._breaker.slow or self.size >= CLOSE_IN_THREAD_MIN_BYTES


@implementer(IBlob, IInMemory)
class InMemoryBlob:
    """The content of `digest` in memory: `data`."""

    __slots__ = ("data", "digest", "size")

    def __init__(self, digest: Digest, data: bytes, size: int) -> None:
        self.digest = digest
        self.size = size
        self.data = data

    def produce(self, consumer: IConsumer, start: int, stop: int) -> "Deferred[None]":
        """Write the range at once."""
        consumer.write(self.data[start:stop])
        return succeed(None)

    def close(self) -> None:
        """Do nothing: no descriptor is held."""


@implementer(IBlob, IFileSource, IRevalidatable)
class FileBlob(Blob):
    """The content of `digest` in a regular file."""

    __slots__ = ("_descriptor", "_is_current")

    def __init__(
        self,
        digest: Digest,
        file: IStoredFile,
        run: Run,
        health: Health,
        breaker: ReadCircuitBreaker,
        descriptor: int,
        is_current: Callable[[], bool],
    ) -> None:
        super().__init__(digest, file, run, health, breaker)
        self._descriptor = descriptor
        self._is_current = is_current

    def fileno(self) -> int:
        """Return the descriptor, valid until the blob is closed."""
        return self._descriptor

    def is_current(self) -> bool:
        """See `IRevalidatable.is_current`."""
        if self._breaker.slow:
            return False
        began = monotonic()
        current = self._is_current()
        self.record_latency(monotonic() - began)
        return current

    @property
    def slow(self) -> bool:
        """See `IFileSource`."""
        return self._breaker.slow

    def record_latency(self, seconds: float) -> None:
        """See `IFileSource.record_latency`."""
        if seconds > MAX_READ_SECONDS:  # faster reads change nothing; this is the hot path
            self._breaker.record(seconds)

    def _closes_in_thread(self) -> bool:
        return self._breaker.slow or (self.size >= CLOSE_IN_THREAD_MIN_BYTES and not self._has_name())

    def _has_name(self) -> bool:
        """Return whether the file has a name, so that closing it frees no space."""
        try:
            return os.fstat(self._descriptor).st_nlink > 0
        except OSError:
            return False


@implementer(IPushProducer)
class RangeProducer:
    """Push producer of a half-open range of `blob`, until it is `stopped`.

    With `ahead` the next chunk is read while one is written.
    """

    def __init__(self, blob: Blob, consumer: IConsumer, start: int, stop: int, *, ahead: bool) -> None:
        self._ahead = ahead
        self._next: Deferred[bytes] | None = None
        self._blob = blob
        self._consumer = consumer
        self._start = start
        self._stop = stop
        self._paused: Deferred[None] | None = None
        self.stopped = False

    async def run(self) -> None:
        """Write all bytes. Raises `OSError`, or `CancelledError` once it was stopped."""
        self._consumer.registerProducer(self, True)
        try:
            while self._start < self._stop:
                await self._wait_until_resumed()
                chunk = await (self._next or self._blob.read(self._start, self._stop))
                self._start += len(chunk)
                self._next = self._read_ahead()
                await self._wait_until_resumed()
                self._consumer.write(chunk)
        finally:
            if self._next is not None:
                self._next.addErrback(lambda _: None)  # a stopped producer does not wait for it
            self._consumer.unregisterProducer()

    def _read_ahead(self) -> "Deferred[bytes] | None":
        if not self._ahead or self._start >= self._stop:
            return None
        return Deferred.fromCoroutine(self._blob.read(self._start, self._stop))

    def pauseProducing(self) -> None:
        """Pause until `resumeProducing`."""
        if self._paused is None and not self.stopped:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """Resume."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """Stop for good."""
        self.stopped = True
        self.resumeProducing()

    async def _wait_until_resumed(self) -> None:
        """Wait until resumed. Raises `CancelledError` when stopped."""
        while self._paused is not None:
            await self._paused
        if self.stopped:
            raise CancelledError
