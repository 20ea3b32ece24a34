"""Store: admission, hashing, statistics and errors, once above any backend.

::

    upload -> AdmissionControl -> Upload -> HashingWriter -> GroupCommit -> UploadResult
    put    -> AdmissionControl -> GroupCommit -> UploadResult
    open   -> backend -> Blob
    delete -> backend -> GroupCommit -> True if it was stored

Blocking calls are made in I/O threads, one pool per kind (`threads`). Exception: a backend with
`INonBlockingOpen` is opened in the reactor's thread, which is faster than a thread while the disk is fast
(`read_circuit_breaker`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EAGAIN
from functools import partial
from math import inf
from time import monotonic
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from filestored.digest import Algorithm, Digest
from filestored.errors import NotFound, UploadRefused
from filestored.interfaces import (
    ALL_BYTES,
    BucketLimits,
    FileView,
    IAliases,
    IBackend,
    IBlob,
    IFileBacked,
    IInMemory,
    ILimitedBackend,
    INonBlockingOpen,
    IOpenToRead,
    IRevalidatable,
    IStore,
    IStoredFile,
    ISyncOpen,
    IUpload,
    StoredFileInfo,
    UploadResult,
    Usage,
    WantedRange,
)
from filestored.metrics.recorder import Recorder
from filestored.settings import MAX_UPLOADS
from filestored.storage.admission import AdmissionControl, SharedSlot, UploadSlots
from filestored.storage.blob import Blob, FileBlob, InMemoryBlob
from filestored.storage.commit_batch import PendingName, PendingUpload
from filestored.storage.group_commit import CallSoon, make_commits
from filestored.storage.hashing import HashingWriter
from filestored.storage.health import Health, raise_classified
from filestored.storage.limits.limited_commits import limited_commits
from filestored.storage.limits.usage_count import UsageCount
from filestored.storage.read_circuit_breaker import MAX_READ_SECONDS, ReadCircuitBreaker
from filestored.storage.thread_pool import Run
from filestored.storage.threads import IOThreads
from filestored.storage.upload import Upload

_T = TypeVar("_T")

MAX_SIZE = 5 * 1024**3
"""Default maximum size of an upload in bytes."""


MAX_LISTED_FILES_OF_A_DISK = 250
"""Number of files that one job should list on a disk.

While a million files were listed on two busy processors, the p99 of other requests was 9 ms with 250, and
39 ms with 1,000: a job holds the interpreter's lock for most of its time.
"""

MAX_LISTED_FILES = 1000
"""The same for an object store, which returns so many at once."""


@dataclass(slots=True)
class Statistics:
    """Counters of one store since it was opened."""

    uploads: int = 0
    uploaded_bytes: int = 0
    created: int = 0
    failed_uploads: int = 0
    opened: int = 0
    not_found: int = 0
    deleted: int = 0


def _by_length(algorithms: Sequence[Algorithm]) -> dict[int, Algorithm]:
    """Map the lengths of the texts of digests to their algorithms."""
    return {2 * each.size: each for each in algorithms}


def _max_fast_read(backend: IBackend) -> float:
    """Return the maximum seconds of a fast read; infinite where all reads are made in threads."""
    return MAX_READ_SECONDS if INonBlockingOpen.providedBy(backend) else inf


def _ignore(failure: Failure) -> None:
    """Handle a failure that is reported elsewhere."""


def _call_now(function: Callable[[], None]) -> None:
    function()


@implementer(IStore)
class Store:
    """The byte strings in `backend`, named by `algorithm`. Used in the reactor's thread only.

    `run` runs blocking calls. `max_size` in bytes. `slots` are shared with other stores, `health` with other
    users of the disk. `call_soon` calls a function in the next iteration of the reactor. `metrics` counts.
    """

    uploads_in_flight = 0
    users = 0
    limits = BucketLimits()

    def __init__(
        self,
        backend: IBackend,
        algorithm: Algorithm,
        run: Run | IOThreads,
        *,
        max_size: int = MAX_SIZE,
        slots: UploadSlots | None = None,
        health: Health | None = None,
        call_soon: CallSoon = _call_now,
        metrics: Recorder | None = None,
    ) -> None:
        self.algorithm = algorithm
        self.max_size = max_size
        self.statistics = Statistics()
        self._backend = backend
        self._metrics = metrics
        self._aliases = IAliases(backend, None)
        self._alias_algorithms = _by_length(self._aliases.alias_algorithms if self._aliases else ())
        self._threads = threads = IOThreads.of(run)
        if INonBlockingOpen.providedBy(backend):
            alsoProvides(self, ISyncOpen)
        self._health = health = health or Health()
        self._read_breaker = ReadCircuitBreaker(max_seconds=_max_fast_read(backend))
        self._slots = slots = slots or UploadSlots(MAX_UPLOADS)
        self._admission = AdmissionControl(backend, threads.read, health, max_size=max_size, slots=slots)
        on_free_space = self._admission.update_free_space
        commits = make_commits(backend, threads.commit, health, on_free_space, call_soon, metrics)
        self._usage = UsageCount(backend, threads.list)
        self._commits = limited_commits(backend, commits, threads.list)

    @property
    def max_listed_files(self) -> int:
        """See `IStore`."""
        return MAX_LISTED_FILES_OF_A_DISK if INonBlockingOpen.providedBy(self._backend) else MAX_LISTED_FILES

    @property
    def degraded(self) -> str | None:
        """See `IStore`."""
        return self._health.degraded

    @property
    def slow(self) -> bool:
        """See `ISyncOpen`."""
        return self._read_breaker.slow

    def parse(self, text: str) -> Digest:
        """See `IStore.parse`; the length of a text identifies its algorithm."""
        return self._alias_algorithms.get(len(text), self.algorithm).parse(text)

    def upload(self, expected: Iterable[Digest] = (), length: int | None = None) -> IUpload:
        """See `IStore.upload`."""
        return self._start_upload(self._slots, expected, length)

    def put(self, data: bytes, expected: Sequence[Digest] = ()) -> "Deferred[UploadResult]":
        """See `IStore.put`."""
        self._admission.admit(len(data))
        done: Deferred[UploadResult] = Deferred()
        try:
            digest = self._hashing(expected).digest(data) if expected else self.algorithm.digest(data)
            upload = PendingUpload(digest, data, partial(self._put_ended, done, len(data)))
            self._slots.acquire(upload)
        except UploadRefused:
            self.statistics.failed_uploads += 1
            if self._metrics is not None:
                self._metrics.upload_counted(None)
            raise
        self.uploads_in_flight += 1
        if self._metrics is not None:
            self._metrics.upload_began()
        self._commits.commit(upload)
        return done

    def _put_ended(self, done: "Deferred[UploadResult]", size: int, upload: PendingName) -> None:
        self._slots.release(upload)
        if upload.error is not None:
            self._upload_ended(None)
            done.errback(self._health.classify(upload.error))
        else:
            stored = UploadResult(upload.digest, size, upload.created, upload.encoding)
            self._upload_ended(stored)
            done.callback(stored)

    def upload_series(self) -> Callable[[], IUpload]:
        """See `IStore.upload_series`."""
        return partial(self._start_upload, SharedSlot(self._slots))

    def _start_upload(
        self,
        slots: UploadSlots | SharedSlot,
        expected: Iterable[Digest] = (),
        length: int | None = None,
    ) -> IUpload:
        self._admission.admit(length)
        if (preparation := self._commits.prepare()) is not None:
            preparation.addErrback(_ignore)  # the commit reports it
        self.uploads_in_flight += 1
        if self._metrics is not None:
            self._metrics.upload_began()
        return Upload(
            self._hashing(expected),
            self._commits,
            self._health,
            self._threads,
            slots,
            length=length,
            limit=self._admission.max_size,
            ended=self._upload_ended,
        )

    def _hashing(self, expected: Iterable[Digest]) -> HashingWriter:
        return HashingWriter(self._backend, self.algorithm, expected, self._admission.free_space)

    def open(
        self, digest: Digest, view: FileView | None = None, *, wanted: WantedRange | None = ALL_BYTES
    ) -> "Deferred[IBlob]":
        """See `IStore.open`; synchronous if the backend allows it and the disk is fast."""
        if ISyncOpen.providedBy(self) and not self._read_breaker.slow:
            return maybeDeferred(self.open_sync, digest, view)
        return Deferred.fromCoroutine(self._open(digest, view, wanted))

    def open_sync(self, digest: Digest, view: FileView | None = None) -> IBlob:
        """See `ISyncOpen.open_sync`."""
        try:
            return self._blob(digest, self._open_now(digest), view)
        except (NotFound, OSError) as error:
            raise self._open_error(error) from None

    def reopen(self, digest: Digest) -> IBlob:
        """See `ISyncOpen.reopen`. It makes few calls: this is the hot path."""
        breaker = self._read_breaker
        if breaker.slow:
            raise BlockingIOError(EAGAIN, "the disk is slow")
        began = monotonic()
        try:
            current = digest if digest.algorithm == self.algorithm.name else self._resolve(digest)
            file = self._backend.open(current)
        finally:
            seconds = monotonic() - began
            if seconds > MAX_READ_SECONDS:  # faster reads change nothing
                breaker.record(seconds)
        if IInMemory.providedBy(file):
            self.statistics.opened += 1
            return InMemoryBlob(digest, file.data, file.size)
        return self._blob(digest, file, None)

    def delete(self, digest: Digest) -> "Deferred[bool]":
        """See `IStore.delete`; durable. Fails with `WritesSuspended` or `OSError`.

        A former and the current digest name the same file: deleting one deletes the other.
        """
        return Deferred.fromCoroutine(self._delete(digest))

    def digests(self, after: Digest | None = None, limit: int = 1000) -> "Deferred[list[Digest]]":
        """See `IStore.digests`."""
        return self._threads.read(self._backend.digests, after, limit)

    def entries(self, after: Digest | None = None, limit: int = 1000) -> "Deferred[list[StoredFileInfo]]":
        """See `IStore.entries`."""
        return Deferred.fromCoroutine(self._list(self._threads.list(self._backend.entries, after, limit)))

    def usage(self) -> "Deferred[Usage]":
        """See `IStore.usage`."""
        return Deferred.fromCoroutine(self._list(self._usage.count()))

    def set_limits(self, limits: BucketLimits) -> None:
        """See `IStore.set_limits`. Raises `TypeError` if the backend has no limits."""
        self.limits = limits
        if limits != BucketLimits() or ILimitedBackend.providedBy(self._backend):
            ILimitedBackend(self._backend).set_limits(limits)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """See `IStore.in_use`. `users` is the number of open contexts."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1

    async def _list(self, listed: "Deferred[_T]") -> _T:
        """Await a list or a count; classify its errors."""
        try:
            return await listed
        except OSError as error:
            raise_classified(self._health.classify_read, error)

    def _resolve(self, digest: Digest) -> Digest:
        """Resolve a former digest. Raises `NotFound` or `OSError`."""
        if digest.algorithm == self.algorithm.name or self._aliases is None:
            return digest
        return self._aliases.resolve(digest)

    def _open_now(self, digest: Digest) -> IStoredFile:
        """Open in the reactor's thread. Raises `NotFound` or `OSError`."""
        began = monotonic()
        try:
            return self._backend.open(self._resolve(digest))
        finally:
            self._read_breaker.record(monotonic() - began)

    def _open_resolved(self, digest: Digest, wanted: WantedRange | None) -> IStoredFile:
        """Open in an I/O thread. Raises `NotFound` or `OSError`."""
        current = self._resolve(digest)
        if wanted is not None and IOpenToRead.providedBy(self._backend):
            return self._backend.open_to_read(current, wanted)
        return self._backend.open(current)

    async def _open(self, digest: Digest, view: FileView | None, wanted: WantedRange | None) -> IBlob:
        try:
            file = await self._threads.read(self._read_breaker.call, self._open_resolved, digest, wanted)
            return self._blob(digest, file, view)
        except (NotFound, OSError) as error:
            raise self._open_error(error) from None

    def _blob(self, digest: Digest, file: IStoredFile, view: FileView | None) -> IBlob:
        self.statistics.opened += 1
        if view is not None:
            return Blob(digest, view(file), self._threads.decompress, self._health)
        if IInMemory.providedBy(file):
            return InMemoryBlob(digest, file.data, file.size)
        if IFileBacked.providedBy(file):
            descriptor, is_current = file.fileno(), IRevalidatable(file).is_current
            breaker = self._read_breaker
            return FileBlob(digest, file, self._threads.read, self._health, breaker, descriptor, is_current)
        return Blob(digest, file, self._threads.read, self._health, self._read_breaker)

    def _open_error(self, error: Exception) -> Exception:
        self.statistics.not_found += isinstance(error, NotFound)
        return self._health.classify_read(error)

    async def _delete(self, digest: Digest) -> bool:
        self._health.check()
        if (preparation := self._commits.prepare()) is not None:
            await preparation.addErrback(_ignore)  # a full disk must not prevent deletions
        try:
            with self.in_use():
                current, deleted = await self._threads.write(self._unlink, digest)
                if deleted:
                    await self._commits.flush_names(current)
        except NotFound:
            return False
        except OSError as error:
            raise_classified(self._health.classify, error)
        self.statistics.deleted += deleted
        if deleted and self._metrics is not None:
            self._metrics.file_deleted()
        return deleted

    def _unlink(self, digest: Digest) -> tuple[Digest, bool]:
        """Remove the name; return the current digest, and whether it was stored. Blocking."""
        current = self._resolve(digest)
        return current, self._backend.delete(current)

    def _upload_ended(self, stored: UploadResult | None) -> None:
        self.uploads_in_flight -= 1
        if self._metrics is not None:
            self._metrics.upload_ended(None if stored is None else stored.created)
        if stored is None:
            self.statistics.failed_uploads += 1
            return
        self.statistics.uploads += 1
        self.statistics.uploaded_bytes += stored.size
        self.statistics.created += stored.created
