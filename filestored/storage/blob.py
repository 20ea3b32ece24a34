"""An open stored byte string, and how its bytes get to a consumer.

A `Blob` owns an `IStoredFile` and reads it in I/O threads. Closing it is allowed at any
time: the file is let go when no read is under way, and whoever was being produced to is told.
A `FileBlob` is one whose bytes are a regular file; those who can send a range of a file by
themselves ask for `IFileSource`. A `InMemoryBlob` has its bytes in memory.

A `RangeProducer` is the push producer of one range: it reads a piece, waits while it is paused,
writes, and goes on. At most one piece is held.
"""

import errno
import os

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.digest import Digest
from filestored.errors import Overloaded
from filestored.interfaces import IBlob, IFileSource, IInMemory, IStoredFile
from filestored.storage.health import Health
from filestored.storage.read_latency import MAX_READ_SECONDS, ReadLatency
from filestored.storage.threads import Run

PIECE = 256 * 1024
"""Bytes that are read at a time."""

SLOW_TO_CLOSE = 1024 * 1024
"""Bytes from which on the end of a file is left to a thread: freeing a deleted one takes time."""


@implementer(IBlob)
class Blob:
    """The bytes named `digest`, in `file`, which `run` reads; `latency` notes how long that takes."""

    __slots__ = ("_closed", "_delivery", "_file", "_health", "_latency", "_reading", "_run", "digest", "size")

    def __init__(
        self,
        digest: Digest,
        file: IStoredFile,
        run: Run,
        health: Health,
        latency: ReadLatency | None = None,
    ) -> None:
        self.digest = digest
        self.size = file.size
        self._file = file
        self._run = run
        self._health = health
        self._latency = latency or ReadLatency()
        self._delivery: RangeProducer | None = None
        self._reading = False
        self._closed = False

    def produce(self, consumer: IConsumer, start: int, stop: int) -> "Deferred[None]":
        """Send a range, one range at a time; cancelling what is returned stops it."""
        assert self._delivery is None, "one range at a time"
        delivery = self._delivery = RangeProducer(self, consumer, start, stop)
        done: Deferred[None] = Deferred(lambda _: delivery.stopProducing())

        def finish(result: Failure | None) -> None:
            if not done.called:
                done.callback(result)

        Deferred.fromCoroutine(self._deliver(delivery)).addBoth(finish)
        return done

    async def read(self, start: int, stop: int) -> bytes:
        """Some bytes from `start` on, at least one and none behind `stop`. Raises `OSError`."""
        self._reading = True
        try:
            data = await self._run(self._read_if_wanted, start, min(PIECE, stop - start))
        except OSError as error:
            judged = self._health.classify_read(error)
            raise judged from (None if judged is error else error)
        finally:
            self._reading = False
            if self._closed:
                self._release()
        if not data and self._is_unwanted():
            raise CancelledError
        if not data:
            raise OSError(errno.EIO, "the file ended before its bytes did")
        return data

    def close(self) -> None:
        """Let go of the file as soon as no read is under way; stop producing."""
        if self._closed:
            return
        self._closed = True
        if self._delivery is not None:
            self._delivery.stopProducing()
        if not self._reading:
            self._release()

    def _read_if_wanted(self, start: int, count: int) -> bytes:
        """Read in an I/O thread, unless the consumer left while this job waited for one."""
        return b"" if self._is_unwanted() else self._latency.call(self._file.read, start, count)

    def _is_unwanted(self) -> bool:
        return self._delivery is not None and self._delivery.stopped

    async def _deliver(self, delivery: "RangeProducer") -> None:
        try:
            await delivery.run()
        finally:
            self._delivery = None

    def _release(self) -> None:
        if self._is_slow_to_close():
            self._run(self._file.close).addErrback(self._close_here)
        else:
            self._file.close()

    def _close_here(self, failure: Failure) -> None:
        """Close the file in this thread, because no other could be started."""
        failure.trap(Overloaded)
        self._file.close()

    def _is_slow_to_close(self) -> bool:
        return self._latency.slow or self.size >= SLOW_TO_CLOSE


@implementer(IBlob, IInMemory)
class InMemoryBlob:
    """The bytes named `digest`: `data`, which nobody has to read."""

    __slots__ = ("data", "digest", "size")

    def __init__(self, digest: Digest, data: bytes) -> None:
        self.digest = digest
        self.size = len(data)
        self.data = data

    def produce(self, consumer: IConsumer, start: int, stop: int) -> "Deferred[None]":
        """Write the range at once."""
        consumer.write(self.data[start:stop])
        return succeed(None)

    def close(self) -> None:
        """Nothing is held but memory."""


@implementer(IBlob, IFileSource)
class FileBlob(Blob):
    """The bytes named `digest`, in a regular file."""

    __slots__ = ("_descriptor",)

    def __init__(
        self,
        digest: Digest,
        file: IStoredFile,
        run: Run,
        health: Health,
        latency: ReadLatency,
        descriptor: int,
    ) -> None:
        super().__init__(digest, file, run, health, latency)
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The file's descriptor, valid until the blob is closed."""
        return self._descriptor

    @property
    def slow(self) -> bool:
        """See `IFileSource`."""
        return self._latency.slow

    def record_latency(self, seconds: float) -> None:
        """See `IFileSource.record_latency`."""
        if seconds > MAX_READ_SECONDS:  # faster ones change nothing here, and this is the hot path
            self._latency.note(seconds)

    def _is_slow_to_close(self) -> bool:
        return self._latency.slow or (self.size >= SLOW_TO_CLOSE and not self._has_name())

    def _has_name(self) -> bool:
        """Whether the file outlives its descriptor, so that closing it frees nothing."""
        try:
            return os.fstat(self._descriptor).st_nlink > 0
        except OSError:
            return False


@implementer(IPushProducer)
class RangeProducer:
    """The bytes of `blob` from `start` to `stop` on their way to `consumer`, until it is `stopped`."""

    def __init__(self, blob: Blob, consumer: IConsumer, start: int, stop: int) -> None:
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
                await self._turn()
                piece = await self._blob.read(self._start, self._stop)
                await self._turn()
                self._start += len(piece)
                self._consumer.write(piece)
        finally:
            self._consumer.unregisterProducer()

    def pauseProducing(self) -> None:
        """Write nothing until `resumeProducing`."""
        if self._paused is None and not self.stopped:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """Go on writing."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """Write nothing any more."""
        self.stopped = True
        self.resumeProducing()

    async def _turn(self) -> None:
        """Wait until writing is allowed. Raises `CancelledError` when it never will be again."""
        while self._paused is not None:
            await self._paused
        if self.stopped:
            raise CancelledError
