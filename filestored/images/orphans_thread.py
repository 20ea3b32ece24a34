"""Background thread that removes orphans after the start of the service, with pauses.

It runs once for each start, in one process of the service. `request_sweep` creates an empty marker file when
the service starts. A process that finds and locks it (flock(2)) removes the orphans, then the marker
(`claimed_sweep`). The kernel unlocks the marker of a process that dies; another process takes over. Requests
are served meanwhile, and a stop ends the run at its next pause.
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
"""Time between the start of the process and that of the run."""

STEPS_PER_PAUSE = 100
"""Number of small steps between two pauses."""

PAUSE_SECONDS = 0.01
"""Length of a pause. 100 steps take about 5 ms, so two thirds of a processor serve requests."""


class OrphanCleanerThread:
    """Runs an `OrphanCleaner` in a thread, if the file `marker` requests it."""

    _log = Logger()

    def __init__(self, reactor: Any, marker: str, records: IRecords, key: bytes, blobs: IBackend) -> None:
        self._reactor = reactor
        self._marker = marker
        self._records = records
        self._accounts = Accounts(records, key)
        self._blobs = blobs
        self._stopped = threading.Event()
        self._steps = 0
        self._delayed: IDelayedCall = reactor.callLater(DELAY_SECONDS, self._start)

    def stop(self) -> None:
        """End the run at its next pause; it starts over at the next start."""
        self._stopped.set()
        if self._delayed.active():
            self._delayed.cancel()

    def _start(self) -> None:
        threading.Thread(target=self._run, name="filestored-sweep", daemon=True).start()

    def _run(self) -> None:
        try:
            with claimed_sweep(self._marker) as is_claimed:
                if is_claimed:
                    sweep = OrphanCleaner(self._records, self._accounts, self._blobs, pause=self._pause)
                    self._reactor.callFromThread(self._report, sweep.run())
        except _Stopped:
            pass
        except Exception:
            failure = Failure()
            self._reactor.callFromThread(self._log.failure, "orphans of images could not be removed", failure)

    def _pause(self, seconds: float = 0.0) -> None:
        """Let other threads run. Raises `_Stopped` after `stop`."""
        self._steps += 1
        if seconds or self._steps % STEPS_PER_PAUSE == 0:
            self._stopped.wait(max(seconds, PAUSE_SECONDS))
        if self._stopped.is_set():
            raise _Stopped

    def _report(self, result: CleanupResult) -> None:
        if result.restored:
            self._log.info("{count} lost records in tokens/ were restored", count=result.restored)
        if result.moved:
            self._log.info(
                "{count} files that no image refers to were moved to blobs/quarantine/", count=result.moved
            )
        if result.refusal:
            self._log.warn("no file of an image was moved to quarantine: {reason}", reason=result.refusal)


class _Stopped(Exception):
    """The process is stopping."""


def request_sweep(path: str) -> None:
    """Create the marker `path`. Without a writable directory there is no marker and no run."""
    with suppress(OSError):
        os.close(os.open(path, _CREATE, 0o600))


@contextmanager
def claimed_sweep(path: str) -> Iterator[bool]:
    """Return whether the caller holds the marker `path`; remove it when the context succeeds.

    Raises `OSError` when the marker cannot be removed.
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
        return False  # no marker, or another process holds it
    return os.fstat(descriptor).st_nlink > 0
