"""The pump: from a producer in the reactor to a file in an I/O thread.

Bytes that are written gather here. When there are `PIECE` of them, and no job of this upload
is under way, one job hashes and writes all that has gathered, while the next bytes gather. When
as many again wait for the job to end, the producer is paused until it does::

    write -> [ gathering ] -> job: hash + write -> [ gathering ] -> job ...
                 commit -> last job: hash, write, compare, seal, publish -> settle -> Stored

The first `MAX_UNPLACED_BYTES` need no place; with more, or a commit, the upload takes one (`places`). An
upload whose client is slow may be evicted from its place: what it has written is discarded, and the
next `write` or the `commit` fails with `Overloaded`.

A body of at most `SMALL` bytes needs no job of its own: it is hashed here, and the group commit
begins, fills, seals and publishes it together with others.

The sink belongs to the job that is under way. An `abort` meanwhile leaves a mark, and the
sink is discarded when the job has ended.

Large pieces gather as they came, and are never copied. Small ones are put together: a client that
sends by ones and twos would make a list of what came forty times its size.

Rejected: a queue and a thread per upload (a thread waits for a slow client then); a pull
producer (every body here is pushed by a connection).
"""

from collections.abc import Callable
from functools import partial
from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProducer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.errors import LengthMismatch, Overloaded, TooLarge
from filestored.interfaces import IUpload, UploadResult
from filestored.storage.commit_batch import PendingName, PendingUpload
from filestored.storage.group_commit import GroupCommit
from filestored.storage.hashing import HashingWriter
from filestored.storage.health import Health
from filestored.storage.threads import IOThreads
from filestored.storage.upload_places import MAX_UNPLACED_BYTES, Meter, UploadPlaces

PIECE = 256 * 1024
"""Bytes that are worth a job, and bytes waiting for one with which the producer has to wait, too."""

WHOLE = 16 * 1024
"""Bytes from which on nothing is put together with a piece."""

SMALL = 64 * 1024
"""Bytes that may be hashed in the reactor's thread."""


@implementer(IUpload)
class Upload:
    """One upload of `length` bytes (None: unknown), of at most `limit`.

    `ended` is called once, with what was stored or None, when nothing of it is in progress any more.
    """

    _size = 0
    _waiting = 0
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
        intake: HashingWriter,
        group: GroupCommit,
        health: Health,
        threads: IOThreads,
        places: UploadPlaces,
        *,
        length: int | None,
        limit: int,
        ended: Callable[[UploadResult | None], None],
    ) -> None:
        self._intake = intake
        self._group = group
        self._health = health
        self._threads = threads
        self._places = places
        self._meter = Meter(places.seconds())
        self._length = length
        self._limit = limit
        self._on_end = ended
        self._gathered: list[bytes | bytearray] = []

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Take bytes from a push producer; it is paused while the disk is behind."""
        if self._producer is not None:
            raise RuntimeError("another producer is registered already")
        if not streaming:
            raise ValueError("an upload takes push producers only")
        self._producer = cast("IPushProducer", producer)  # `streaming` says that it is one
        self._throttle()

    def unregisterProducer(self) -> None:
        """The producer has written its last byte."""
        self._producer = None
        self._paused = False

    def write(self, data: bytes) -> None:
        """Gather `data`. Raises `TooLarge` or `Overloaded`; what follows an error or the end is dropped."""
        self._size += len(data)
        if self._size > self._limit:
            raise TooLarge
        if self._evicted:
            raise Overloaded
        if self._error is None and not (self._aborted or self._committing):
            if self._size > MAX_UNPLACED_BYTES:
                self._places.acquire(self)
            self._gather(data)
            self._pump()
            self._throttle()

    def commit(self) -> "Deferred[UploadResult]":
        """Keep the bytes. Fails with `CancelledError` when `abort` came before they reached the disk."""
        # The caller may cancel what it gets; a job under way can't be, so it goes on unseen.
        done: Deferred[UploadResult] = Deferred()
        if self._aborted:
            done.errback(CancelledError())  # to end it is the business of that `abort`
            return done
        self._committing = True
        if self._size <= SMALL:
            self._commit_small(done)
        else:
            Deferred.fromCoroutine(self._commit()).chainDeferred(done)
        return done

    def abort(self) -> None:
        """Drop everything, as soon as no job is under way. What is being committed already may be stored."""
        if self._aborted:
            return
        self._aborted = True
        self._drop()
        if not (self._committing or self._working):
            Deferred.fromCoroutine(self._end(None))

    def rate(self, now: float) -> float:
        """See `Holder.rate`; a client is not to blame while the disk is at work, or has all bytes."""
        busy = self._working or self._committing or self._aborted
        return float("inf") if busy else self._meter.rate(now, self._size)

    def evict(self) -> None:
        """See `Holder.evict`. Called by `UploadPlaces` only, when no job is under way."""
        self._evicted = True
        self._error = Overloaded()
        self._drop()
        if self._intake.started:
            self._start_job(self._intake.discard)

    def _commit_small(self, done: "Deferred[UploadResult]") -> None:
        """Nothing was written yet: hash the bytes here, and leave the rest to the group."""
        try:
            self._check()
            self._places.acquire(self)
            data = self._whole()
            digest = self._intake.digest(data)
        except Exception as error:
            self._ended(None)
            done.errback(error.with_traceback(None))  # it would hold the bytes; see `jobs.empty`
        else:
            self._group.commit(PendingUpload(digest, data, partial(self._settled, done)))

    def _settled(self, done: "Deferred[UploadResult]", body: PendingName) -> None:
        if body.error is not None:
            self._ended(None)
            done.errback(self._health.classify(body.error))
        else:
            stored = UploadResult(body.digest, self._size, body.created, body.encoding)
            self._ended(stored)
            done.callback(stored)

    async def _commit(self) -> UploadResult:
        stored = None
        try:
            await self._rest()
            stored = await self._store()
            return stored
        except OSError as error:
            judged = self._health.classify(error)
            raise judged from (None if judged is error else error)
        finally:
            await self._end(stored)

    def _check(self) -> None:
        """All bytes are here and no job is under way: raise what speaks against keeping them."""
        if self._error is not None:
            raise self._error
        if self._aborted:
            raise CancelledError
        if self._length not in (None, self._size):
            raise LengthMismatch
        self._health.check()

    async def _store(self) -> UploadResult:
        self._check()
        digest, created, encoding = await self._threads.seal(self._intake.complete, self._take())
        await self._group.flush_names(digest)
        return UploadResult(digest, self._size, created, encoding)

    def _ended(self, stored: UploadResult | None) -> None:
        self._places.release(self)
        self._on_end(stored)

    async def _end(self, stored: UploadResult | None) -> None:
        """Leave nothing behind; the caller makes sure that this happens once."""
        self._drop()
        try:
            if self._intake.started:
                await self._threads.write(self._intake.discard)
        finally:
            self._ended(stored)
            self._intake.discard()  # on the spot, when no thread could be had

    def _pump(self) -> None:
        """Send what has gathered on to a job, if it is worth one and none is under way."""
        if self._waiting >= PIECE and not self._working:
            self._start_job(self._intake.write, self._take())

    def _start_job(self, job: Callable[..., None], *args: object) -> None:
        """Run a job; the next one begins when it has ended."""
        self._working = True
        self._threads.write(job, *args).addBoth(self._job_ended)

    def _job_ended(self, result: Failure | None) -> None:
        self._working = False
        self._meter.restart(self._places.seconds(), self._size)
        if isinstance(result, Failure):
            self._error = self._health.classify(_exception(result))
        if self._idle is not None:
            self._idle.callback(None)
        elif self._aborted:
            Deferred.fromCoroutine(self._end(None))
        elif self._error is not None:
            self._drop()  # last, for the producer may end us as it goes on
        else:
            self._pump()
            self._throttle()

    async def _rest(self) -> None:
        """Wait for the job that is under way."""
        if self._working:
            self._idle = Deferred()
            await self._idle

    def _gather(self, data: bytes) -> None:
        self._waiting += len(data)
        last = self._gathered[-1] if self._gathered else None
        if last is None or max(len(data), len(last)) >= WHOLE:
            self._gathered.append(data)
        elif isinstance(last, bytearray):
            last += data
        else:
            self._gathered[-1] = bytearray(last + data)

    def _take(self) -> list[bytes | bytearray]:
        pieces, self._gathered, self._waiting = self._gathered, [], 0
        return pieces

    def _whole(self) -> bytes | bytearray:
        pieces = self._take()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _drop(self) -> None:
        """Forget what has gathered, and let the producer run dry."""
        self._take()
        self._throttle()

    def _throttle(self) -> None:
        """Pause or resume the producer, as the backlog demands."""
        if self._producer is None:
            return
        behind = self._waiting >= PIECE
        if behind and not self._paused:
            self._paused = True
            self._producer.pauseProducing()
        elif self._paused and not behind:
            self._paused = False
            self._producer.resumeProducing()


def _exception(failure: Failure) -> Exception:
    assert isinstance(failure.value, Exception)
    return failure.value
