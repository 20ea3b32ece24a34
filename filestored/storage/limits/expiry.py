"""Expiry of files: a background thread deletes those whose last upload is too long ago.

A process has one thread for all buckets with an expiry. It looks at each bucket at an interval of a tenth of
its expiry. Of several processes one does so at a time (`IExpiringBackend.claimed_sweep`). Requests are served
meanwhile: the thread pauses between small steps. `ExpirySweeper.stop` and `ExpirySweeper.remove` end a sweep
at its next step.

A clock that is set forward deletes no file at once: the time of a sweep is at most that of the last one plus
what has passed since then. So there is an interval in which the clock can be corrected. A file with a time in
the future is not old.

An error of one file leaves it for the next sweep; another error ends the sweep.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.errors import EngineError
from filestored.interfaces import IBackend, IExpiringBackend
from filestored.settings import format_count
from filestored.storage.limits.clock import boot_seconds
from filestored.storage.limits.usage_count import all_entries
from filestored.storage.thread_pool import DaemonThread

MIN_INTERVAL_SECONDS = 1.0
"""Minimum time between two sweeps of a bucket."""

MAX_INTERVAL_SECONDS = 60 * 60.0
"""Maximum time between two sweeps of a bucket."""

MAX_DELAY_SECONDS = 10.0
"""Maximum time until the first sweep of a bucket. Other processes have read its expiry by then."""

MAX_MARGIN_SECONDS = 60.0
"""Maximum time that files are kept beyond their expiry, for clocks that differ; else a hundredth of it."""

STEPS_PER_PAUSE = 100
"""Number of files between two pauses."""

PAUSE_SECONDS = 0.01
"""Length of a pause. 100 files take about 1 ms, and 100 deletions about 5 ms."""

_PAGE_FILES = 1000


@dataclass
class SweepResult:
    """Number of files that a sweep has `deleted`, and the last `error`."""

    deleted: int = 0
    error: OSError | None = None


def sweep(backend: IBackend, before: float, pause: Callable[[], None]) -> SweepResult:
    """Delete the files whose last upload was `before` that time. Blocking; calls `pause` for each file."""
    result = SweepResult()
    expiring = IExpiringBackend(backend)
    try:
        for entry in all_entries(backend, _PAGE_FILES):
            pause()
            if entry.modified < before:
                try:
                    result.deleted += expiring.delete_expired(entry.digest, before)
                except EngineError:
                    raise
                except OSError as error:
                    result.error = error
    except OSError as error:
        result.error = error
    return result


def expired_before(now: float, expire: float) -> float:
    """Return the time before which files of a bucket have expired, with the margin for clocks that differ."""
    return now - expire - min(expire / 100, MAX_MARGIN_SECONDS)


@dataclass(eq=False)
class ExpiringBucket:
    """A bucket whose files expire after `expire` seconds; `due` is the time of its next sweep."""

    name: str
    backend: IBackend
    expire: float
    due: float
    removed: bool = False
    waiting: "list[Deferred[None]]" = field(default_factory=list)
    _last: tuple[float, float] | None = None

    @property
    def interval(self) -> float:
        """Return the seconds between two sweeps."""
        return min(max(self.expire / 10, MIN_INTERVAL_SECONDS), MAX_INTERVAL_SECONDS)

    def oldest(self, now: float, boot: float) -> float:
        """Return the time before which files have expired; `now` may be wrong, unlike the clock `boot`."""
        last, self._last = self._last, (now, boot)
        if last is not None:
            now = min(now, last[0] + boot - last[1])
        return expired_before(now, self.expire)


class ExpirySweeper:
    """Deletes expired files of some buckets. All methods are called in the reactor's thread.

    `seconds` is a monotonic clock.
    """

    _log = Logger()

    def __init__(self, reactor: Any, seconds: Callable[[], float] = time.monotonic) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._changed = threading.Condition()
        self._buckets: dict[str, ExpiringBucket] = {}
        self._swept: ExpiringBucket | None = None
        self._started = self._stopped = False
        self._steps = 0

    def set(self, name: str, backend: IBackend, expire: float) -> None:
        """Let the files of a bucket expire after so many seconds, from now on; also changes that time.

        `backend` is an `IExpiringBackend`, and stays open until the result of `remove` or `stop` has fired.
        """
        known = self._buckets.get(name)
        if known is not None and known.backend is backend and known.expire == expire:
            return
        self.remove(name)
        bucket = ExpiringBucket(name, backend, expire, 0.0)
        bucket.due = self._seconds() + min(bucket.interval, MAX_DELAY_SECONDS)
        with self._changed:
            self._buckets[name] = bucket
            self._changed.notify()
        if not self._started:
            self._started = True
            DaemonThread(target=self._run, name="filestored-expiry").start()

    def remove(self, name: str) -> "Deferred[None]":
        """Delete no more files of a bucket, which may be unknown. Fires when its backend can be closed."""
        with self._changed:
            bucket = self._buckets.pop(name, None)
            if bucket is not None:
                bucket.removed = True
                self._changed.notify()
            swept = self._swept  # an earlier call may have removed it
            if swept is None or swept.name != name:
                return succeed(None)
            ended: Deferred[None] = Deferred()
            swept.waiting.append(ended)
            return ended

    def stop(self) -> "Deferred[None]":
        """End the thread. Fires when all backends can be closed."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
            names = {*self._buckets, *([self._swept.name] if self._swept is not None else [])}
        return gatherResults(map(self.remove, names)).addCallback(lambda _: None)

    # --- in the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while bucket := self._next_due():
            try:
                self._sweep(bucket)
            except _Ended:
                pass
            except Exception:
                self._reactor.callFromThread(self._log.failure, "expired files were not deleted", Failure())
            finally:
                with self._changed:
                    self._swept = None
                self._reactor.callFromThread(self._sweep_ended, bucket)

    def _next_due(self) -> ExpiringBucket | None:
        """Wait for the next bucket that is due; return None when the process is stopping."""
        with self._changed:
            while not self._stopped:
                bucket = min(self._buckets.values(), key=lambda each: each.due, default=None)
                wait = None if bucket is None else bucket.due - self._seconds()
                if bucket is not None and wait is not None and wait <= 0:
                    bucket.due = self._seconds() + bucket.interval
                    self._swept = bucket
                    return bucket
                self._changed.wait(wait)
        return None

    def _sweep(self, bucket: ExpiringBucket) -> None:
        """Delete expired files, if the sweep can be claimed. Raises `_Ended`."""
        result = SweepResult()
        try:
            with IExpiringBackend(bucket.backend).claimed_sweep(bucket.interval) as now:
                if now is not None:
                    before = bucket.oldest(now, boot_seconds())
                    result = sweep(bucket.backend, before, lambda: self._pause(bucket))
        except OSError as error:
            result.error = error
        self._reactor.callFromThread(self._report, bucket.name, result)

    def _pause(self, bucket: ExpiringBucket) -> None:
        """Let other threads run. Raises `_Ended` when the bucket was removed."""
        self._steps += 1
        if self._steps % STEPS_PER_PAUSE == 0:
            with self._changed:
                self._changed.wait_for(lambda: bucket.removed, PAUSE_SECONDS)
        if bucket.removed:
            raise _Ended

    # --- in the reactor's thread ----------------------------------------------------------------

    def _report(self, name: str, result: SweepResult) -> None:
        if result.deleted:
            self._log.info(
                "deleted {files} of the bucket {name} that expired",
                files=format_count(result.deleted, "file"),
                name=name,
            )
        if result.error is not None:
            reason = getattr(result.error, "reason", None) or result.error.strerror or str(result.error)
            self._log.warn(
                "expired files of the bucket {name} were not deleted: {reason}", name=name, reason=reason
            )

    def _sweep_ended(self, bucket: ExpiringBucket) -> None:
        while bucket.waiting:
            bucket.waiting.pop().callback(None)


class _Ended(Exception):
    """The bucket was removed, or the process is stopping."""
