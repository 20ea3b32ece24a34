"""Limited backend: quota and lifetime of files, above any backend.

Usage is recorded in a `Ledger` while there is a quota. Order of the steps, for each digest one caller of this
process at a time:

- publish: look for the file, reserve its size, publish; give the size back unless a file was created
- publish of a stored file: nothing is reserved; it counts if it was deleted meanwhile and is created again
- delete: look for the size, unlink, give the size back

The limits in force are those of the moment, so they also concern uploads that have begun before they were
set. Each written piece of a large upload is compared with the room that is left, so it is refused early.
Small content is compared when it is published, so that it may be uploaded again to a full bucket.

Two processes that delete and upload the same file at once may exceed the quota by that file: the second has
found it, so it has reserved nothing. Rejected: removing it again, as a third may have reported it as stored.

All other calls go to the wrapped backend, whose methods are attributes here: reading costs nothing more.
"""

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple

from twisted.logger import Logger
from zope.interface import alsoProvides, implementer, providedBy

from filestored.digest import Digest
from filestored.errors import NotFound, QuotaExceeded
from filestored.interfaces import (
    INLINE_HASH_MAX_BYTES,
    BucketLimits,
    IAliases,
    IBackend,
    IExpiringBackend,
    ILimitedBackend,
    IQuarantine,
    IRenewableSink,
    IRepairingSink,
    ISink,
    Usage,
)
from filestored.storage.limits.ledger import MAX_AGE_SECONDS, Ledger, MakeLedger, check_fits
from filestored.storage.thread_pool import DaemonThread

_MAX_ATTEMPTS = 100


class Quota(NamedTuple):
    """The limits in force, and the ledger of the usage."""

    limits: BucketLimits
    ledger: Ledger

    def admit(self, length: int | None) -> None:
        """See `ILimitedBackend.admit`."""
        usage = Usage(0, 0)
        if self.ledger.is_open and self.ledger.is_fresh:
            with suppress(OSError):
                usage = self.ledger.cached()
        check_fits(usage, 1 if length is None else length, self.limits)

    def check_written(self, size: int) -> None:
        """Raise `QuotaExceeded` if `size` bytes of an upload do not fit. Blocking; raises `OSError`."""
        ledger = self.ledger
        if ledger.is_open:
            try:
                check_fits(ledger.current(MAX_AGE_SECONDS), size, self.limits)
            except QuotaExceeded:
                check_fits(ledger.current(), size, self.limits)


@implementer(IBackend, ILimitedBackend)
class LimitedBackend:
    """Keeps `BucketLimits` in `backend`, with the ledger of `make_ledger`. The caller closes both."""

    _log = Logger()

    def __init__(self, backend: IBackend, make_ledger: MakeLedger) -> None:
        self.limits = BucketLimits()
        self.quota: Quota | None = None
        self._backend = backend
        self._make_ledger = make_ledger
        self._ledger: Ledger | None = None
        self._digests = DigestLocks()
        aliases = IAliases(backend, None)
        self._former = {each.name for each in aliases.alias_algorithms} if aliases is not None else set()
        self.open = backend.open
        self.flush_names = backend.flush_names
        self.digests = backend.digests
        self.describe = backend.describe
        self.entries = backend.entries
        self.free_space = backend.free_space
        self._bind_optional_interfaces()

    def _bind_optional_interfaces(self) -> None:
        """Provide each interface that the backend provides, by the methods of the backend."""
        for interface in providedBy(self._backend):
            for name in interface:
                if not hasattr(self, name):
                    setattr(self, name, getattr(self._backend, name))
            alsoProvides(self, interface)

    @property
    def needs_ledger(self) -> bool:
        """See `ILimitedBackend`."""
        quota = self.quota
        return quota is not None and not quota.ledger.is_open

    def set_limits(self, limits: BucketLimits) -> None:
        """See `ILimitedBackend.set_limits`. A ledger that is no longer needed is closed in a thread."""
        self.limits = limits
        if limits.quota_bytes is None and limits.quota_files is None:
            self.quota = None
            ledger, self._ledger = self._ledger, None
            if ledger is not None:
                DaemonThread(target=ledger.close, name="close-ledger").start()
        else:
            self._ledger = self._ledger or self._make_ledger(self._backend)
            self.quota = Quota(limits, self._ledger)

    def record_removals(self) -> None:
        """Use the ledger without limits, for a process that only removes files."""
        self._ledger = self._make_ledger(self._backend)
        self.quota = Quota(self.limits, self._ledger)

    def admit(self, length: int | None) -> None:
        """See `ILimitedBackend.admit`."""
        if self.quota is not None:
            self.quota.admit(length)

    def open_ledger(self) -> None:
        """See `ILimitedBackend.open_ledger`."""
        quota = self.quota
        if quota is not None:
            quota.ledger.open()

    def recorded_usage(self) -> Usage | None:
        """See `ILimitedBackend.recorded_usage`."""
        quota = self.quota
        return quota.ledger.current() if quota is not None and quota.ledger.is_open else None

    def close(self) -> None:
        """Close the ledger. Blocking."""
        ledger, self._ledger, self.quota = self._ledger, None, None
        if ledger is not None:
            ledger.close()

    def begin(self) -> ISink:
        """Return a `LimitedSink`."""
        return LimitedSink(self, self._backend.begin())

    def publish(self, sink: ISink, digest: Digest, size: int) -> bool:
        """Publish a sink of `size` bytes within the quota. Raises `QuotaExceeded` and as `ISink.publish`."""
        quota = self.quota
        if quota is None:
            return sink.publish(digest)
        quota.ledger.open()
        with self._digests.locked(digest):
            reserved = self._reserve(quota, digest, size)
            created = reserved
            try:
                created = sink.publish(digest)
            except OSError:
                created = reserved and self._may_be_stored(digest)
                raise
            except BaseException:
                created = False
                raise
            finally:
                moved = sink.displaced if IRepairingSink.providedBy(sink) else Usage(0, 0)
                added = created - reserved
                self._add(quota, Usage(added - moved.files, added * size - moved.bytes))
            return created

    def delete(self, digest: Digest) -> bool:
        """Delete a file, then subtract it from the usage."""
        return self._remove(digest, partial(self._backend.delete, digest))

    def delete_expired(self, digest: Digest, before: float) -> bool:
        """See `IExpiringBackend`, which this backend provides if the wrapped one does."""
        expiring = IExpiringBackend(self._backend)
        return self._remove(digest, partial(expiring.delete_expired, digest, before))

    def move_to_quarantine(self, digest: Digest, reason: str) -> bool:
        """See `IQuarantine`."""
        quarantine = IQuarantine(self._backend)
        return self._remove(digest, partial(quarantine.move_to_quarantine, digest, reason))

    def restore(self, digest: Digest) -> bool:
        """See `IQuarantine`. The file counts even if that exceeds the quota."""
        quota = self.quota
        restored = IQuarantine(self._backend).restore(digest)
        if restored and quota is not None and self._opens(quota):
            quota.ledger.add(Usage(1, self._backend.describe(digest).size))
        return restored

    def _remove(self, digest: Digest, remove: Callable[[], bool]) -> bool:
        quota = self.quota
        if quota is None or digest.algorithm in self._former or not self._opens(quota):
            return remove()
        with self._digests.locked(digest):
            try:
                size = self._backend.describe(digest).size
            except NotFound:
                return False
            removed = remove()
            if removed:
                quota.ledger.add(Usage(-1, -size))
            return removed

    def _opens(self, quota: Quota) -> bool:
        """Open the ledger; return False if that fails: a full disk must not prevent deletions."""
        try:
            quota.ledger.open()
        except OSError as error:
            self._log.error("the usage of a bucket cannot be recorded: {reason}", reason=str(error))
            return False
        return True

    def _reserve(self, quota: Quota, digest: Digest, size: int) -> bool:
        """Reserve the size of a new file; return False if the file is stored. Raises `QuotaExceeded`."""
        if self._is_stored(digest):
            return False
        try:
            quota.ledger.reserve(size, quota.limits)
        except QuotaExceeded:
            if self._is_stored(digest):  # another process has just published it
                return False
            raise
        return True

    def _is_stored(self, digest: Digest) -> bool:
        try:
            self._backend.describe(digest)
        except NotFound:
            return False
        return True

    def _may_be_stored(self, digest: Digest) -> bool:
        try:
            return self._is_stored(digest)
        except OSError:
            return True

    @staticmethod
    def _add(quota: Quota, change: Usage) -> None:
        if change != (0, 0):
            quota.ledger.add(change)


@implementer(ISink)
class LimitedSink:
    """The sink of an upload to `backend`; counts the bytes written to `sink`."""

    def __init__(self, backend: LimitedBackend, sink: ISink) -> None:
        self._backend = backend
        self._sink = sink
        self._size = 0
        self.seal = sink.seal
        self.discard = sink.discard

    @property
    def encoding(self) -> str | None:
        """See `ISink`."""
        return self._sink.encoding

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. Raises `QuotaExceeded` as soon as large content does not fit."""
        self._size += len(data)
        if self._size > INLINE_HASH_MAX_BYTES:
            quota = self._backend.quota
            if quota is not None:
                quota.check_written(self._size)
        self._sink.write(data)

    def publish(self, digest: Digest) -> bool:
        """Publish within the quota, and start the lifetime of the file anew if the bucket has one."""
        created = self._backend.publish(self._sink, digest, self._size)
        if self._backend.limits.expire is None or not IRenewableSink.providedBy(self._sink):
            return created
        for _ in range(_MAX_ATTEMPTS):
            if self._sink.renew(digest, created):
                return created
            created = self._backend.publish(self._sink, digest, self._size)
        raise OSError(errno.EBUSY, "the file is created and removed all the time")


class DigestLocks:
    """A lock for each digest. Thread-safe."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._locked: set[Digest] = set()

    @contextmanager
    def locked(self, digest: Digest) -> Iterator[None]:
        """Hold the lock of `digest` for the context. Blocking."""
        with self._condition:
            self._condition.wait_for(lambda: digest not in self._locked)
            self._locked.add(digest)
        try:
            yield
        finally:
            with self._condition:
                self._locked.remove(digest)
                self._condition.notify_all()
