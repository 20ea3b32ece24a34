"""Background thread that removes orphans after the start of the service, with pauses.

It runs in the one process that claims the sweep (`sweep_marker`, `bucket`). Requests are served meanwhile,
and a stop ends the run at its next pause.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.errors import EngineError
from filestored.images.accounts import Accounts
from filestored.images.orphans.cleaner import CleanupResult, OrphanCleaner, Pause
from filestored.interfaces import IBackend, IRecords

DELAY_SECONDS = 0.5
"""Time between the start of the process and that of the run."""

STEPS_PER_PAUSE = 100
"""Number of small steps between two pauses."""

PAUSE_SECONDS = 0.01
"""Length of a pause. 100 steps take about 5 ms, so two thirds of a processor serve requests."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Schedule of the removal of orphans. All functions are blocking.

    `claim` claims a removal for a context, which is whether that succeeded. `remove_more` deletes what is
    left of removed records. It is tried once, or at an `interval` in seconds.
    """

    claim: Callable[[], AbstractContextManager[bool]]
    remove_more: Callable[[Pause], object] | None = None
    interval: float | None = None


class OrphanCleanerThread:
    """Runs an `OrphanCleaner` in a thread, when `sweep` is due."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        records: IRecords,
        accounts: Accounts,
        blobs: IBackend,
        sweep: Sweep,
    ) -> None:
        self._reactor = reactor
        self._records = records
        self._accounts = accounts
        self._blobs = blobs
        self._sweep = sweep
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
        interval = self._sweep.interval
        while self._run_once() and interval is not None and not self._stopped.wait(interval):
            pass

    def _run_once(self) -> bool:
        """Remove orphans, if the sweep can be claimed; return False when the process is stopping."""
        try:
            with self._sweep.claim() as is_claimed:
                if is_claimed:
                    cleaner = OrphanCleaner(self._records, self._accounts, self._blobs, pause=self._pause)
                    self._reactor.callFromThread(self._report, cleaner.run())
                    if self._sweep.remove_more is not None:
                        self._sweep.remove_more(self._pause)
        except _Stopped:
            return False
        except EngineError as error:
            self._reactor.callFromThread(self._report_outage, error)
        except Exception:
            failure = Failure()
            self._reactor.callFromThread(self._log.failure, "orphans of images could not be removed", failure)
        return True

    def _report_outage(self, error: EngineError) -> None:
        self._log.warn("orphans of images were not removed: {reason}", reason=error.reason)

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
