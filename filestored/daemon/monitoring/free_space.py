"""Free space and size of the disk of the store, for a scrape of the metrics."""

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from filestored.storage.thread_pool import Run, ThreadPool, in_threads

MAX_WAIT_SECONDS = 1.0
"""Maximum seconds that a scrape waits for a disk."""


class FreeSpace:
    """The last known `free` space and `size` of the disk of `path` in bytes; None while unknown.

    `run` runs statvfs(2) in a thread, where a hanging disk blocks nothing.
    """

    def __init__(
        self,
        clock: Any,
        path: str,
        run: Run,
        statvfs: Callable[[str], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._clock = clock
        self._path = path
        self._run = run
        self._statvfs = statvfs
        self._began: float | None = None
        """Time at which the running call began; None while there is none."""
        self.free: int | None = None
        self.size: int | None = None

    @classmethod
    def in_thread(cls, reactor: Any, path: str) -> "FreeSpace":
        """Return the free space of `path`, read in a thread that the end of the process does not wait for."""
        pool = ThreadPool("free-space", 1)
        pool.start()
        return cls(reactor, path, in_threads(reactor, pool))

    def refresh(self) -> "Deferred[None]":
        """Read the values; fires when they are known, or cannot be read, or after a bounded time.

        While another call reads them, it fires at once: the values are those of before, or unknown if the
        disk hangs.
        """
        now = self._clock.seconds()
        if self._began is not None:
            if now - self._began >= MAX_WAIT_SECONDS:
                self.free = self.size = None
            return succeed(None)
        self._began = now
        done: Deferred[None] = Deferred()
        waiting = self._clock.callLater(MAX_WAIT_SECONDS, done.callback, None)

        def finish(found: os.statvfs_result | Failure) -> None:
            self._began = None
            self._use(found)
            if waiting.active():
                waiting.cancel()
                done.callback(None)

        self._run(self._statvfs, self._path).addBoth(finish)
        return done

    def _use(self, found: os.statvfs_result | Failure) -> None:
        if isinstance(found, Failure):
            self.free = self.size = None
        else:
            self.free = found.f_bavail * found.f_frsize
            self.size = found.f_blocks * found.f_frsize
