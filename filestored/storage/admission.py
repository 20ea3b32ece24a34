"""Admission control for uploads: limits on size, count and free space.

`AdmissionControl.admit` decides before the first byte, without blocking. Refused are uploads that are too
large, for which there is no space, that exceed the quota of their bucket, and all uploads while writes are
suspended. Those that need an upload slot are refused when none can become free.

Upload slots bound the uploads that write to disk at once. An upload needs none for its first
`MAX_BYTES_WITHOUT_SLOT`, which wait in memory. It acquires a slot for the next byte, or to be committed, and
releases it at its end. When all slots are held, the upload of the slowest client is evicted, if that is
slower than `MIN_RATE`; else the new upload is refused.

Free space is a cached value, refreshed by the I/O threads after each batch and while large uploads are
written, and by a job after each refusal. `FreeSpace.spend` checks it once in `CHECK_INTERVAL_BYTES` of all
uploads of a store and process, and for each chunk while there is none. So uploads use at most
`CHECK_INTERVAL_BYTES` of the reserve per process and store, and one chunk per I/O thread.

The reserve (``--reserve``) is 256 MiB by default, or 5 % of the file system if that is less, so that a small
volume can be filled, too.

Rejected: statvfs(2) in `admit`, which blocks the reactor on a hanging disk. A slot from the request head on,
which lets slow clients block all others. Reserving the announced length, which lets a client that sends
little do the same.
"""

import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from twisted.python.failure import Failure

from filestored.errors import Overloaded, StorageFull, TooLarge
from filestored.interfaces import IBackend, ILimitedBackend
from filestored.request_context import call_for_request
from filestored.storage.health import Health
from filestored.storage.thread_pool import Run

MAX_BYTES_WITHOUT_SLOT = 16 * 1024
"""Maximum bytes of an upload, or a series of uploads, without a slot. 4,000 of them take 64 MiB."""

MIN_RATE = 64 * 1024
"""Bytes per second below which the holder of a slot may be evicted."""

MIN_WINDOW_SECONDS = 2.0
"""Minimum time over which the rate of a client is measured."""

CHECK_INTERVAL_BYTES = 16 * 1024 * 1024
"""Bytes written between two checks of the free space. A check takes microseconds."""

MAX_DEFAULT_RESERVE_BYTES = 256 * 1024 * 1024
"""Maximum of the default of ``--reserve``, the free space that uploads leave."""

DEFAULT_RESERVE_PERCENT = 5
"""Share of a small file system that is its default reserve."""


class AdmissionControl:
    """Limits on size, count and free space of one store. `max_size` in bytes."""

    def __init__(
        self, backend: IBackend, run: Run, health: Health, *, max_size: int, slots: "UploadSlots"
    ) -> None:
        self.max_size = max_size
        self.free_space = FreeSpace(backend)
        self._backend = backend
        self._run = run
        self._health = health
        self._slots = slots
        self._refreshing = False
        self._quota = ILimitedBackend(backend, None)

    def admit(self, length: int | None) -> None:
        """Admit an upload of `length` bytes; None is unknown. Raises `UploadRefused`."""
        announced, length = length, length or 0
        if length > self.max_size:
            raise TooLarge.than(self.max_size)
        if self._health.degraded is not None:
            raise self._health.refusal
        if length > MAX_BYTES_WITHOUT_SLOT:
            self._slots.check()
        if self.free_space.free < max(length, 1):
            self._refresh_free_space()
            raise StorageFull
        if self._quota is not None:
            self._quota.admit(announced)

    def update_free_space(self, free: int | None) -> None:
        """Set the free space in bytes; None if it is unknown."""
        if free is not None:
            self.free_space.free = free

    def _refresh_free_space(self) -> None:
        if not self._refreshing:
            self._refreshing = True
            self._run(self._backend.free_space).addBoth(self._refreshed)

    def _refreshed(self, free: int | Failure) -> None:
        self._refreshing = False
        self.update_free_space(None if isinstance(free, Failure) else free)


def reserved_bytes(space: os.statvfs_result, reserve: int | None) -> int:
    """Return `reserve`, or the default for this file system if that is None."""
    if reserve is not None:
        return reserve
    return min(MAX_DEFAULT_RESERVE_BYTES, space.f_blocks * space.f_frsize * DEFAULT_RESERVE_PERCENT // 100)


def free_bytes(space: os.statvfs_result, reserve: int | None) -> int:
    """Return the free space less the reserve; 0 without free inodes."""
    if space.f_files and not space.f_favail:
        return 0
    return max(0, space.f_bavail * space.f_frsize - reserved_bytes(space, reserve))


class FreeSpace:
    """Free space of one store. `free` is the last known value in bytes, less the reserve. Thread-safe."""

    def __init__(self, backend: IBackend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._written = 0
        self.free = backend.free_space()

    def spend(self, count: int) -> None:
        """Count bytes about to be written; check the free space when that is due. Blocking.

        Raises `StorageFull` or `OSError`.
        """
        with self._lock:
            self._written += count
            due = self._written >= CHECK_INTERVAL_BYTES
        if due:
            self._check()

    def _check(self) -> None:
        self.free = free = self._backend.free_space()
        if free <= 0:
            raise StorageFull  # and the next chunk checks again
        with self._lock:
            self._written = 0


class RateWindow:
    """The time over which the rate of a client is measured; bytes `received` in it, and `total` bytes."""

    __slots__ = ("_start", "received", "total")

    def __init__(self, now: float) -> None:
        self.total = 0
        self.reset(now)

    def reset(self, now: float) -> None:
        """Begin a new window: until now the disk, or the server, was the cause of a wait."""
        self._start = now
        self.received = 0

    def rate(self, now: float) -> float:
        """Return bytes per second; infinite within the first `MIN_WINDOW_SECONDS`."""
        elapsed = now - self._start
        return float("inf") if elapsed < MIN_WINDOW_SECONDS else self.received / elapsed


class SlotHolder(Protocol):
    """An upload that holds a slot, or wants one."""

    def rate(self, now: float) -> float:
        """Return the client's rate in bytes per second; infinite if the client is not the cause."""

    def evict(self) -> None:
        """Fail with `Overloaded`, and free memory and descriptors."""


class UploadSlots:
    """Slots for the concurrent uploads of one store (``--max-uploads``). `seconds` is a monotonic clock."""

    def __init__(self, count: int, seconds: Callable[[], float] = monotonic) -> None:
        self.seconds = seconds
        self._count = count
        self._holders: set[SlotHolder] = set()

    def rate_window(self) -> RateWindow:
        """Return the window of a new upload."""
        return RateWindow(self.seconds())

    def check(self) -> None:
        """Raise `Overloaded` when all slots are held and no holder may be evicted."""
        if len(self._holders) >= self._count:
            self._slowest(MIN_RATE)

    def acquire(self, upload: SlotHolder) -> None:
        """Give `upload` a slot. Idempotent. Raises `Overloaded`."""
        if upload in self._holders:
            return
        if len(self._holders) >= self._count:
            slowest = self._slowest(min(MIN_RATE, upload.rate(self.seconds())))
            self._holders.remove(slowest)
            call_for_request(b"", slowest.evict)  # it serves another request
        self._holders.add(upload)

    def release(self, upload: SlotHolder) -> None:
        """Free the slot of `upload`, if it holds one."""
        self._holders.discard(upload)

    def _slowest(self, below: float) -> SlotHolder:
        """Return the holder with the lowest rate. Raises `Overloaded` unless that is lower than `below`."""
        now = self.seconds()
        rate, _, slowest = min((each.rate(now), id(each), each) for each in self._holders)
        if rate >= below:
            raise Overloaded
        return slowest


class SharedSlot:
    """One upload slot of `slots` for a series of uploads of one client. Used by them like `UploadSlots`.

    The uploads also share a window, because those that wait for their commit receive nothing more.
    """

    def __init__(self, slots: UploadSlots) -> None:
        self.seconds = slots.seconds
        self._slots = slots
        self._window = slots.rate_window()
        self._uploads: set[SlotHolder] = set()
        self._evicted = False

    def rate_window(self) -> RateWindow:
        """Return the window of all uploads of the series."""
        return self._window

    def acquire(self, upload: SlotHolder) -> None:
        """Give `upload` a share of the slot. Idempotent. Raises `Overloaded`, also after an eviction."""
        if self._evicted:
            raise Overloaded
        self._uploads.add(upload)
        self._slots.acquire(self)

    def release(self, upload: SlotHolder) -> None:
        """Take the share of `upload` back; free the slot with the last one."""
        self._uploads.discard(upload)
        if not self._uploads:
            self._slots.release(self)
            self._window.reset(self.seconds())
            self._window.total = MAX_BYTES_WITHOUT_SLOT if self._evicted else 0

    def rate(self, now: float) -> float:
        """See `SlotHolder.rate`."""
        return max(upload.rate(now) for upload in self._uploads)

    def evict(self) -> None:
        """See `SlotHolder.evict`."""
        self._evicted = True
        for upload in tuple(self._uploads):
            upload.evict()
