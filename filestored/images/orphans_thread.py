"""Removal of orphans in the background: in a thread of its own, after the start, with pauses.

It runs once for each start of the service, in one of its processes. `request_sweep` creates an empty marker
file when the service starts. A process that finds it and locks it (flock(2)) runs the sweep, then removes the
marker (`claimed_sweep`). The kernel unlocks the marker of a process that dies; another process runs the sweep
then. Requests are served meanwhile, and a stop ends the sweep at its next pause.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.images.accounts import Accounts
from filestored.images.orphans import CleanupResult, OrphanCleaner
from filestored.interfaces import IBackend, IRecords

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

DELAY_SECONDS = 0.5
"""Time between the start of the process and that of the sweep."""

STEPS = 100
"""Small steps between two pauses."""

PAUSE_SECONDS = 0.01
"""A pause. A hundred steps take about 5 ms, so two thirds of a processor are left to requests."""


class OrphanCleanerThread:
    """Sweeps `records` and `blobs` in a thread, if the mark `mark` says that a sweep is due."""

    _log = Logger()

    def __init__(self, reactor: Any, mark: str, records: IRecords, key: bytes, blobs: IBackend) -> None:
        self._reactor = reactor
        self._mark = mark
        self._records = records
        self._accounts = Accounts(records, key)
        self._blobs = blobs
        self._stopped = threading.Event()
        self._steps = 0
        self._delayed: IDelayedCall = reactor.callLater(DELAY_SECONDS, self._start)

    def stop(self) -> None:
        """End the sweep at its next pause; it is due again at the next start."""
        self._stopped.set()
        if self._delayed.active():
            self._delayed.cancel()

    def _start(self) -> None:
        threading.Thread(target=self._run, name="filestored-sweep", daemon=True).start()

    def _run(self) -> None:
        try:
            with claimed_sweep(self._mark) as is_claimed:
                if is_claimed:
                    sweep = OrphanCleaner(self._records, self._accounts, self._blobs, pause=self._pause)
                    self._reactor.callFromThread(self._report, sweep.run())
        except _Stopped:
            pass
        except Exception:
            failure = Failure()
            self._reactor.callFromThread(self._log.failure, "the images could not be swept", failure)

    def _pause(self, seconds: float = 0.0) -> None:
        """Let other threads run; raises `_Stopped` once `stop` was called."""
        self._steps += 1
        if seconds or self._steps % STEPS == 0:
            self._stopped.wait(max(seconds, PAUSE_SECONDS))
        if self._stopped.is_set():
            raise _Stopped

    def _report(self, swept: CleanupResult) -> None:
        if swept.restored:
            self._log.info("{count} lost records in tokens/ were made anew", count=swept.restored)
        if swept.moved:
            self._log.info(
                "{count} files that no image refers to were moved to blobs/quarantine/", count=swept.moved
            )
        if swept.left:
            self._log.warn("no file of an image was moved to quarantine: {reason}", reason=swept.left)


class _Stopped(Exception):
    """The process ends."""


def request_sweep(path: str) -> None:
    """Leave the mark `path`. A file system that cannot take it, or has no such directory, gets no task."""
    with suppress(OSError):
        os.close(os.open(path, _CREATE, 0o600))


@contextmanager
def claimed_sweep(path: str) -> Iterator[bool]:
    """Whether the task of the mark `path` is for the caller. The mark goes if the context ends well.

    Raises `OSError` when the mark cannot be removed.
    """
    with ExitStack() as opened:
        is_claimed = _claim(path, opened)
        yield is_claimed
        if is_claimed:
            os.unlink(path)


def _claim(path: str, opened: ExitStack) -> bool:
    try:
        descriptor = os.open(path, _OPEN)
        opened.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # no mark, or another process is at it
    return os.fstat(descriptor).st_nlink > 0
