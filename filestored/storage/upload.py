"""Upload: from a push producer in the reactor to a sink in an I/O thread, with back-pressure.

Written bytes are buffered. When `CHUNK_BYTES` are buffered and no job of this upload runs, one job hashes and
writes them, while the next bytes are buffered. When as many again wait for the job, the producer is paused
until it ends::

    write -> [ buffer ] -> job: hash + write -> [ buffer ] -> job ...
                 commit -> last job: hash, write, compare, seal, publish -> flush of the name -> UploadResult

The first `MAX_BYTES_WITHOUT_SLOT` need no slot (`admission`). An upload of a slow client may be evicted: its
written bytes are discarded, and the next `write` or the `commit` fails with `Overloaded`.

Content of at most `INLINE_HASH_MAX_BYTES` needs no job: it is hashed in the reactor's thread, and the group
commit writes, seals and publishes it together with others.

The sink belongs to the running job. An `abort` meanwhile sets a flag, and the sink is discarded after the
job.

Large chunks are buffered as received, without a copy. Small ones are joined: a client that sends single bytes
would make a list of forty times their size.

Rejected: a queue and a thread per upload, in which a thread waits for a slow client; a pull producer, as
every body is pushed by a connection.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProducer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.errors import LengthMismatch, Overloaded, QuotaExceeded, TooLarge
from filestored.interfaces import INLINE_HASH_MAX_BYTES, IUpload, UploadResult
from filestored.storage.admission import MAX_BYTES_WITHOUT_SLOT, SharedSlot, UploadSlots
from filestored.storage.commit_batch import PendingName, PendingUpload
from filestored.storage.group_commit import Commits
from filestored.storage.hashing import HashingWriter
from filestored.storage.health import Health, raise_classified
from filestored.storage.threads import IOThreads

CHUNK_BYTES = 256 * 1024
"""Buffered bytes that start a job, and that pause the producer while a job runs."""

COALESCE_BELOW_BYTES = 16 * 1024
"""Chunks below this size are joined."""


@implementer(IUpload)
class Upload:
    """One upload of `length` bytes (None: unknown), of at most `limit`.

    `ended` is called once, with the result or None, when nothing of the upload is in progress.
    """

    _size = 0
    _waiting = 0
    _job_bytes = CHUNK_BYTES
    _working = False
    _idle: Deferred[None] | None = None
    _error: Exception | None = None
    _committing = False
    _aborted = False
    _evicted = False
    _producer: IPushProducer | None = None
    _paused = False

    def __init__(
        self,
        writer: HashingWriter,
        commits: Commits,
        health: Health,
        threads: IOThreads,
        slots: UploadSlots | SharedSlot,
        *,
        length: int | None,
        limit: int,
        ended: Callable[[UploadResult | None], None],
    ) -> None:
        self._writer = writer
        self._commits = commits
        self._health = health
        self._threads = threads
        self._slots = slots
        self._window = slots.rate_window()
        self._length = length
        self._limit = limit
        self._on_end = ended
        self._chunks: list[bytes | bytearray] = []

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register a push producer, which is paused while the disk is slower."""
        if self._producer is not None:
            raise RuntimeError("another producer is registered already")
        if not streaming:
            raise ValueError("an upload takes push producers only")
        self._producer = cast("IPushProducer", producer)  # `streaming` says that it is one
        self._throttle()

    def unregisterProducer(self) -> None:
        """Unregister the producer, which has written its last byte."""
        self._producer = None
        self._paused = False

    def write(self, data: bytes) -> None:
        """Buffer `data`. Raises `TooLarge`, `QuotaExceeded` or `Overloaded`.

        Bytes after another error, or the end, are dropped.
        """
        self._size += len(data)
        window = self._window
        window.received += len(data)
        window.total += len(data)
        if self._size > self._limit:
            raise TooLarge.than(self._limit)
        if self._evicted:
            raise Overloaded
        if isinstance(self._error, QuotaExceeded):
            raise self._error
        if self._error is None and not (self._aborted or self._committing):
            if window.total > MAX_BYTES_WITHOUT_SLOT:
                self._slots.acquire(self)
            self._buffer(data)
            self._start_write()
            self._throttle()

    def spill(self) -> None:
        """See `IUpload.spill`. Content that needs no job stays in memory."""
        if self._size > INLINE_HASH_MAX_BYTES:
            self._job_bytes = 1
            self._start_write()

    def commit(self) -> "Deferred[UploadResult]":
        """See `IUpload.commit`. Fails with `CancelledError` after an `abort`."""
        # Cancelling it has no effect on a running job.
        done: Deferred[UploadResult] = Deferred()
        if self._aborted:
            done.errback(CancelledError())  # `abort` ends the upload
            return done
        self._committing = True
        if self._size <= INLINE_HASH_MAX_BYTES:
            self._commit_small(done)
        else:
            Deferred.fromCoroutine(self._commit()).chainDeferred(done)
        return done

    def abort(self) -> None:
        """Discard the upload once no job runs. Content that is being committed may be stored."""
        if self._aborted:
            return
        self._aborted = True
        self._clear_buffer()
        if not (self._committing or self._working):
            Deferred.fromCoroutine(self._end(None))

    def rate(self, now: float) -> float:
        """See `SlotHolder.rate`; infinite while a job or the commit runs, or within the first seconds."""
        if self._working or self._committing or self._aborted:
            return float("inf")
        return self._window.rate(now)

    def evict(self) -> None:
        """See `SlotHolder.evict`. Called by `UploadSlots` only, while no job runs."""
        self._evicted = True
        self._error = Overloaded()
        self._clear_buffer()
        if self._writer.started:
            self._start_job(self._writer.discard)

    def _commit_small(self, done: "Deferred[UploadResult]") -> None:
        """Hash the content here; the group commit does the rest."""
        try:
            self._check()
            self._slots.acquire(self)
            data = self._joined()
            digest = self._writer.digest(data)
        except Exception as error:
            self._ended(None)
            # The frames of the traceback hold the content, see `clear_traceback_frames`.
            done.errback(error.with_traceback(None))
        else:
            self._commits.commit(PendingUpload(digest, data, partial(self._committed, done)))

    def _committed(self, done: "Deferred[UploadResult]", name: PendingName) -> None:
        if name.error is not None:
            self._ended(None)
            done.errback(self._health.classify(name.error))
        else:
            stored = UploadResult(name.digest, self._size, name.created, name.encoding)
            self._ended(stored)
            done.callback(stored)

    async def _commit(self) -> UploadResult:
        stored = None
        try:
            await self._wait_idle()
            stored = await self._store()
            return stored
        except OSError as error:
            raise_classified(self._health.classify, error)
        finally:
            await self._end(stored)

    def _check(self) -> None:
        """Raise the reason why the content cannot be stored, if any. No job runs."""
        if self._error is not None:
            raise self._error
        if self._aborted:
            raise CancelledError
        if self._length not in (None, self._size):
            raise LengthMismatch
        if self._health.degraded is not None:
            raise self._health.refusal

    async def _store(self) -> UploadResult:
        self._check()
        if (preparation := self._commits.prepare()) is not None:
            await preparation
        digest, created, encoding = await self._threads.seal(self._writer.finish, self._pop_chunks())
        await self._commits.flush_names(digest)
        return UploadResult(digest, self._size, created, encoding)

    def _ended(self, stored: UploadResult | None) -> None:
        self._slots.release(self)
        self._on_end(stored)

    async def _end(self, stored: UploadResult | None) -> None:
        """Discard what is left, and end the upload. Called once."""
        self._clear_buffer()
        try:
            if self._writer.started:
                await self._threads.write(self._writer.discard)
        finally:
            self._ended(stored)
            self._writer.discard()  # here, if no thread could be started

    def _start_write(self) -> None:
        """Start a job if enough is buffered and none runs."""
        if self._waiting >= self._job_bytes and not self._working:
            self._start_job(self._writer.write, self._pop_chunks())

    def _start_job(self, job: Callable[..., None], *args: object) -> None:
        """Run a job; the next one starts after it."""
        self._working = True
        self._threads.write(job, *args).addBoth(self._job_ended)

    def _job_ended(self, result: Failure | None) -> None:
        self._working = False
        self._window.reset(self._slots.seconds())
        if isinstance(result, Failure):
            self._error = self._health.classify(_exception(result))
        if self._idle is not None:
            self._idle.callback(None)
        elif self._aborted:
            Deferred.fromCoroutine(self._end(None))
        elif self._error is not None:
            self._clear_buffer()  # last: the resumed producer may end this upload
        else:
            self._start_write()
            self._throttle()

    async def _wait_idle(self) -> None:
        """Wait for the running job."""
        if self._working:
            self._idle = Deferred()
            await self._idle

    def _buffer(self, data: bytes) -> None:
        self._waiting += len(data)
        last = self._chunks[-1] if self._chunks else None
        if last is None or max(len(data), len(last)) >= COALESCE_BELOW_BYTES:
            self._chunks.append(data)
        elif isinstance(last, bytearray):
            last += data
        else:
            self._chunks[-1] = bytearray(last + data)

    def _pop_chunks(self) -> list[bytes | bytearray]:
        chunks, self._chunks, self._waiting = self._chunks, [], 0
        return chunks

    def _joined(self) -> bytes | bytearray:
        chunks = self._pop_chunks()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _clear_buffer(self) -> None:
        """Clear the buffer and resume the producer, whose bytes are dropped."""
        self._pop_chunks()
        self._throttle()

    def _throttle(self) -> None:
        """Pause or resume the producer, depending on the buffer."""
        if self._producer is None:
            return
        behind = self._waiting >= CHUNK_BYTES
        if behind and not self._paused:
            self._paused = True
            self._producer.pauseProducing()
        elif self._paused and not behind:
            self._paused = False
            self._producer.resumeProducing()


def _exception(failure: Failure) -> Exception:
    assert isinstance(failure.value, Exception)
    return failure.value
