"""Recovery without a restart: the preparation of directories, tried again in the background.

In: the directories that this process writes to, each with its `Health` and the function that prepares it.
While a preparation is due, that function runs every few seconds in an I/O thread. Once it does not raise, the
health resumes.

A preparation is due after one that has failed at the start, and during a suspension that a probe may end.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from filestored.errors import UnusableStore
from filestored.storage.disk.directory import Report
from filestored.storage.health import Health
from filestored.storage.threads import Run

INTERVAL_SECONDS = 5.0
"""Time between two attempts."""


class Recovery:
    """The preparations of one process. `run` takes blocking work to an I/O thread."""

    _log = Logger()

    def __init__(self, clock: Any, run: Run) -> None:
        self._clock = clock
        self._run = run
        self._functions: dict[Health, list[Callable[[], None]]] = {}
        self._unprepared: set[Health] = set()
        self._later: IDelayedCall | None = None
        self._stopped = False

    def add(self, health: Health, repair: Callable[[], None]) -> Report:
        """Add a directory that `repair` prepares; returns the function that reports a failed first attempt.

        `repair` is blocking, and raises `UnusableStore` or `OSError`.
        """
        self._functions.setdefault(health, []).append(repair)
        return partial(self._report, health)

    def start(self) -> None:
        """Begin to look every few seconds whether a preparation is due."""
        self._later = self._clock.callLater(INTERVAL_SECONDS, self._try_all)

    def stop(self) -> None:
        """End that. An attempt under way ends by itself."""
        self._stopped = True
        if self._later is not None and self._later.active():
            self._later.cancel()

    def _report(self, health: Health, error: OSError) -> None:
        self._unprepared.add(health)
        self._log.error(
            "reading only: {reason}; writing is tried again every {seconds:g} s",
            reason=str(error),
            seconds=INTERVAL_SECONDS,
        )
        health.judge_start(error)

    def _try_all(self) -> None:
        Deferred.fromCoroutine(self._attempt()).addErrback(self._failed).addBoth(self._next)

    async def _attempt(self) -> None:
        for health, functions in self._functions.items():
            if not self._due(health):
                continue
            try:
                await self._run(_call_all, functions)
            except (UnusableStore, OSError) as error:
                self._log.debug("writing is not possible yet: {reason}", reason=str(error))
            else:
                self._unprepared.discard(health)
                health.resume()

    def _due(self, health: Health) -> bool:
        if health.degraded is not None:
            return health.recoverable
        return health in self._unprepared

    def _failed(self, failure: Any) -> None:
        self._log.failure("an attempt to prepare a directory has failed", failure)

    def _next(self, _: object) -> None:
        if not self._stopped:
            self.start()


def _call_all(functions: list[Callable[[], None]]) -> None:
    for function in functions:
        function()
