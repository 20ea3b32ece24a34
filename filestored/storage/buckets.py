"""Buckets: a store for each, opened when it is first used and closed when it is idle; and their limits.

The store of a bucket has a directory of its own, ``buckets/<name>/`` in that of the default bucket, or such a
prefix in an object store. It is made by the first upload; until then `EmptyStore` serves the bucket.

The stores share threads, upload slots and health with the default bucket, which is always open. An open
store on a disk holds 256 descriptors, so one is closed after `IDLE_SECONDS`, or earlier when too many are
open; never while an upload, a job or a list of it is under way. A bucket in which files expire stays open.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, NoReturn, Protocol

from twisted.internet.defer import Deferred, DeferredLock, fail, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.digest import Algorithm, Digest
from filestored.errors import NotFound, StoreMissing, UnusableStore
from filestored.interfaces import (
    ALL_BYTES,
    BucketLimits,
    FileView,
    IBackend,
    IBlob,
    IBuckets,
    IStore,
    StoredFileInfo,
    Usage,
    WantedRange,
)
from filestored.storage.health import Health
from filestored.storage.limits.expiry import ExpirySweeper
from filestored.storage.store import Store
from filestored.storage.thread_pool import Run
from filestored.storage.threads import JobCount

IDLE_SECONDS = 600.0
"""Seconds without a request after which a bucket is closed."""

CHECK_SECONDS = 30.0
"""Interval of the search for idle buckets."""

NO_LIMITS = BucketLimits()


class BucketHealth:
    """The `Health` of a bucket: that of all buckets, but a removed directory concerns this one only."""

    is_missing = False

    def __init__(self, shared: Health) -> None:
        self._shared = shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared, name)

    def classify(self, error: Exception) -> Exception:
        """See `Health.classify`."""
        return self._missing(error) if isinstance(error, StoreMissing) else self._shared.classify(error)

    def classify_read(self, error: Exception) -> Exception:
        """See `Health.classify_read`."""
        return self._missing(error) if isinstance(error, StoreMissing) else self._shared.classify_read(error)

    def _missing(self, error: StoreMissing) -> Exception:
        self.is_missing = True
        return error


class OpenedStore(NamedTuple):
    """The store of a bucket over `backend`, the count of its running jobs, and the function that closes it.

    `close` is blocking; it and `health` are None for the default bucket, which stays open.
    """

    store: Store
    backend: IBackend
    jobs: JobCount
    close: Callable[[], None] | None = None
    health: BucketHealth | None = None


class OpenStore(Protocol):
    """Opens the store of a bucket. Blocking."""

    def __call__(self, name: str, *, create: bool) -> OpenedStore:
        """Open the store; `create` makes it if there is none.

        Raises `NotFound` without a store, `UnusableStore` or `OSError`.
        """


class _Bucket:
    """An open bucket; `used` is when it was asked for last, in seconds."""

    def __init__(self, opened: OpenedStore, now: float) -> None:
        self.store = opened.store
        self.backend = opened.backend
        self.close = opened.close
        self.used = now
        self._jobs = opened.jobs
        self._health = opened.health

    @property
    def is_missing(self) -> bool:
        """True if its directory was removed."""
        return self._health is not None and self._health.is_missing

    @property
    def is_idle(self) -> bool:
        """True if it may be closed: nothing of it is under way, and nothing in it expires."""
        store = self.store
        return (
            self.close is not None
            and not (self._jobs.running or store.uploads_in_flight or store.users)
            and (store.limits.expire is None or self.is_missing)
        )


@implementer(IBuckets)
class Buckets:
    """All buckets; `default` is the name and the store of the default one. Used in the reactor's thread only.

    `open_store` runs in a thread of `run`. `empty` serves a bucket that has no store. `sweeper` deletes
    expired files. `closing` is called before a store is closed, so that nothing keeps its files. Before more
    than `max_open` are open, idle ones are closed.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        open_store: OpenStore,
        run: Run,
        empty: "EmptyStore",
        *,
        sweeper: ExpirySweeper,
        default: tuple[str, OpenedStore],
        closing: Callable[[], None],
        max_open: int,
    ) -> None:
        self._clock = clock
        self._open_store = open_store
        self._run = run
        self._empty = empty
        self._sweeper = sweeper
        self._closing = closing
        self._max_open = max_open
        self._open = {default[0]: _Bucket(default[1], clock.seconds())}
        self._locks: defaultdict[str, DeferredLock] = defaultdict(DeferredLock)
        self._limits: Mapping[str, BucketLimits] = {}
        self._next_check: IDelayedCall | None = None

    def stop(self) -> "Deferred[None]":
        """Close no more buckets, and delete no more files; fires when no deletion runs."""
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        return self._sweeper.stop()

    def get(self, name: str, *, create: bool) -> "IStore | Deferred[IStore]":
        """See `IBuckets.get`."""
        bucket = self._open.get(name)
        if bucket is not None and bucket.is_missing and bucket.is_idle:
            self._close([name])
            bucket = None
        if bucket is not None:
            bucket.used = self._clock.seconds()
            return bucket.store
        return Deferred.fromCoroutine(self._open_or_empty(name, create=create))

    def use_limits(self, limits: Mapping[str, BucketLimits]) -> None:
        """Use these limits from now on, by the names of the buckets."""
        self._limits = limits
        if self._next_check is None:
            self._next_check = self._clock.callLater(CHECK_SECONDS, self._check)
        for name, bucket in self._open.items():
            self._limit(name, bucket)
        for name, each in limits.items():
            if each.expire is not None and name not in self._open:
                opening = Deferred.fromCoroutine(self._open_or_empty(name, create=False))
                opening.addErrback(self._not_opened, name)

    def close_idle(self) -> None:
        """Close the buckets that are idle for `IDLE_SECONDS`."""
        oldest_use = self._clock.seconds() - IDLE_SECONDS
        self._close([name for name in self._idle() if self._open[name].used <= oldest_use])

    async def _make_room(self) -> None:
        """Close idle buckets until one more can be opened; if all are in use, more than allowed are open."""
        others = sum(bucket.close is not None for bucket in self._open.values())
        if others >= self._max_open:
            await self._close(self._idle()[: others + 1 - self._max_open])

    def _idle(self) -> list[str]:
        """Return the names of idle buckets; the first one was used the longest time ago."""
        return sorted(
            (name for name, bucket in self._open.items() if bucket.is_idle),
            key=lambda name: self._open[name].used,
        )

    def _close(self, names: Sequence[str]) -> "Deferred[Any]":
        """Close buckets that are idle; fires when that is done."""
        if names:
            self._closing()
        return gatherResults(map(self._close_one, names))

    def _close_one(self, name: str) -> "Deferred[None]":
        bucket = self._open.pop(name)
        assert bucket.close is not None, "it is idle"
        closing = self._sweeper.remove(name).addCallback(lambda _, close: self._run(close), bucket.close)
        return closing.addErrback(self._not_closed, name)

    def _check(self) -> None:
        self._next_check = self._clock.callLater(CHECK_SECONDS, self._check)
        self.close_idle()

    async def _open_or_empty(self, name: str, *, create: bool) -> IStore:
        lock = self._locks[name]
        await lock.acquire()
        try:
            bucket = self._open.get(name) or await self._open_now(name, create=create)
        except NotFound:
            return self._empty.limited(self._limits.get(name, NO_LIMITS))
        finally:
            lock.release()
        return bucket.store

    async def _open_now(self, name: str, *, create: bool) -> _Bucket:
        await self._make_room()
        try:
            opened = await self._run(self._open_store, name, create=create)
        except UnusableStore as error:
            self._log.error("the bucket {name} cannot be opened: {reason}", name=name, reason=str(error))
            raise StoreMissing(
                "The files of this bucket cannot be reached; the log has the reason."
            ) from None
        bucket = self._open[name] = _Bucket(opened, self._clock.seconds())
        self._limit(name, bucket)
        return bucket

    def _limit(self, name: str, bucket: _Bucket) -> None:
        """Use the limits in force for an open bucket."""
        limits = self._limits.get(name, NO_LIMITS)
        bucket.store.set_limits(limits)
        if limits.expire is None:
            self._sweeper.remove(name)
        else:
            self._sweeper.set(name, bucket.backend, limits.expire)

    def _not_opened(self, failure: Failure, name: str) -> None:
        if failure.check(StoreMissing):
            return  # logged with its reason
        self._log.error("the bucket {name} cannot be opened: {reason}", name=name, reason=str(failure.value))

    def _not_closed(self, failure: Failure, name: str) -> None:
        self._log.failure("the bucket {name} could not be closed", failure, name=name)


@implementer(IStore)
class EmptyStore:
    """A store without files, to which nothing is uploaded."""

    degraded = None
    max_listed_files = 1

    def __init__(self, algorithm: Algorithm, max_size: int, limits: BucketLimits = NO_LIMITS) -> None:
        self.algorithm = algorithm
        self.max_size = max_size
        self.limits = limits

    def limited(self, limits: BucketLimits) -> "EmptyStore":
        """Return an empty store with these limits."""
        return EmptyStore(self.algorithm, self.max_size, limits)

    def parse(self, text: str) -> Digest:
        """See `IStore.parse`."""
        return self.algorithm.parse(text)

    def upload(self, *args: object, **fields: object) -> NoReturn:
        """Raise `StoreMissing`."""
        raise StoreMissing

    put = upload_series = upload

    def open(
        self, digest: Digest, view: FileView | None = None, *, wanted: WantedRange | None = ALL_BYTES
    ) -> "Deferred[IBlob]":
        """Fail with `NotFound`."""
        return fail(NotFound())

    def delete(self, digest: Digest) -> "Deferred[bool]":
        """Return False."""
        return succeed(False)

    def digests(self, after: Digest | None = None, limit: int = 1000) -> "Deferred[list[Digest]]":
        """Return an empty list."""
        return succeed([])

    def entries(self, after: Digest | None = None, limit: int = 1000) -> "Deferred[list[StoredFileInfo]]":
        """Return an empty list."""
        return succeed([])

    def usage(self) -> "Deferred[Usage]":
        """Return zeros."""
        return succeed(Usage(0, 0))

    def set_limits(self, limits: BucketLimits) -> None:
        """Do nothing."""

    def in_use(self) -> AbstractContextManager[None]:
        """Return a context without effect: nothing is open."""
        return nullcontext()
