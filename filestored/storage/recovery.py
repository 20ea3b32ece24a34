"""Recovery without a restart: retries the preparation of directories in the background.

`Recovery.add` registers a directory with its `Health` and the function that prepares it. While a preparation
is due, that function runs at an interval in an I/O thread; when it succeeds, the health resumes. A
preparation is due after it failed at the start, and during a suspension that a probe may end. An object
store is also checked while it is healthy, so that an outage is known before a client meets it (`monitor`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from filestored.errors import EngineError, UnusableStore
from filestored.storage.disk.directory import Report
from filestored.storage.health import Health
from filestored.storage.thread_pool import Run

INTERVAL_SECONDS = 5.0
"""Interval of attempts on a disk."""

ENGINE_INTERVAL_SECONDS = 1.0
"""Interval of attempts on an object store."""

CHECK_SECONDS = 5.0
"""Interval of checks of an object store that is healthy."""


class Recovery:
    """The preparations of one process. `run` runs them in an I/O thread, every `interval` seconds."""

    _log = Logger()

    def __init__(self, clock: Any, run: Run, interval: float = INTERVAL_SECONDS) -> None:
        self._clock = clock
        self._interval = interval
        self._run = run
        self._functions: dict[Health, list[Callable[[], None]]] = {}
        self._next_check: dict[Health, float] = {}
        self._unprepared: set[Health] = set()
        self._next_attempt: IDelayedCall | None = None
        self._stopped = False

    def add(self, health: Health, repair: Callable[[], None]) -> Report:
        """Register a directory; return the function that reports a failed preparation at the start.

        `repair` is blocking, and raises `UnusableStore` or `OSError`.
        """
        self._functions.setdefault(health, []).append(repair)
        return partial(self._report, health)

    def monitor(self, health: Health, check: Callable[[], None]) -> None:
        """Register an object store, which is also checked every `CHECK_SECONDS` while it is healthy.

        `check` is blocking, and raises `EngineError`.
        """
        self._functions.setdefault(health, []).append(check)
        self._next_check[health] = 0.0

    def start(self) -> None:
        """Start the attempts."""
        self._next_attempt = self._clock.callLater(self._interval, self._try_all)

    def stop(self) -> None:
        """Stop the attempts; a running one completes."""
        self._stopped = True
        if self._next_attempt is not None and self._next_attempt.active():
            self._next_attempt.cancel()

    def _report(self, health: Health, error: OSError) -> None:
        self._unprepared.add(health)
        self._log.error(
            "reading only: {reason}; writing is tried again every {seconds:g} s",
            reason=str(error),
            seconds=self._interval,
        )
        health.suspend_until_probe(error)

    def _try_all(self) -> None:
        Deferred.fromCoroutine(self._attempt()).addErrback(self._failed).addBoth(self._schedule)

    async def _attempt(self) -> None:
        for health, functions in self._functions.items():
            if not self._is_due(health):
                continue
            try:
                await self._run(_call_all, functions)
            except (UnusableStore, OSError) as error:
                self._log.debug("writing is not possible yet: {reason}", reason=str(error))
                if isinstance(error, EngineError):
                    health.classify_read(error)
            else:
                self._unprepared.discard(health)
                health.resume()

    def _is_due(self, health: Health) -> bool:
        if health.degraded is not None:
            return health.recoverable
        if health in self._next_check and self._clock.seconds() >= self._next_check[health]:
            self._next_check[health] = self._clock.seconds() + CHECK_SECONDS
            return True
        return health in self._unprepared

    def _failed(self, failure: Any) -> None:
        self._log.failure("an attempt to prepare a directory has failed", failure)

    def _schedule(self, _: object) -> None:
        if not self._stopped:
            self.start()


def _call_all(functions: list[Callable[[], None]]) -> None:
    for function in functions:
        function()
