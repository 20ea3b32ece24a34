"""Supervisor of several worker processes on one listening socket.

Flow: `Supervisor.start` spawns fresh interpreters, never copies of itself. Each inherits the listening
descriptors and reads its configuration as one line of JSON from stdin. A line on its stdout says that it
serves. From then on stdin is the control pipe: ``ping``, ``reopen`` and suspensions are written to it, and
its end means "drain and exit". The kernel ends it too when the supervisor is killed, so no orphan remains.
stdout carries the worker's log, one JSON object a line; stderr is logged as it is.

A worker that exits, hangs or cannot be started is replaced at once; after five quick deaths with growing
delays (`backoff`). Delays never leave the service without any worker for longer than `MAX_EMPTY_SECONDS`.

A worker that suspends writes to a device or directory tells the supervisor, which tells all others and each
new one: the health of a disk is that of the service, not of one process.

Rejected: configuration in argv, which every user of the machine can read; signals for control, which a parent
that was killed cannot send.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from filestored.daemon.listeners import ListeningSocket
from filestored.daemon.periodic_call import repeating
from filestored.daemon.worker_process import PING_SECONDS, Suspension
from filestored.daemon.worker_slot import WorkerSlot
from filestored.logs.log_line import LogLine
from filestored.settings import Settings

GRACE = 5.0
"""Seconds that a worker may take beyond its time for draining."""

MAX_EMPTY_SECONDS = 2.0
"""Maximum delay before a restart while there is no other worker."""

FIRST_DESCRIPTOR = 3
"""The number of the first listening descriptor in a worker; others follow it."""


class Supervisor:
    """Keeps ``settings.workers`` processes running.

    `log` writes their lines. `status` receives a sentence whenever the number of serving workers changes.
    `worker_module` is run with ``python -m``.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        log: Callable[[LogLine], None],
        status: Callable[[str], None],
        worker_module: str,
    ) -> None:
        self.worker_module = worker_module
        self._reactor = reactor
        self._settings = settings
        self._status = status
        self._listening: Sequence[ListeningSocket] = ()
        self._places: list[WorkerSlot] = []
        self._suspensions: dict[int | str, Suspension] = {}
        self._heartbeat = repeating(reactor, self._beat)
        self._stopped = False
        self.write = log

    def start(self, listening: Sequence[ListeningSocket]) -> "Deferred[None]":
        """Spawn the workers once the reactor runs; fires when all of them serve."""
        self._listening = listening
        self._places = [
            WorkerSlot(self._reactor, number, self) for number in range(1, self._settings.workers + 1)
        ]
        for place in self._places:
            self._reactor.callWhenRunning(place.spawn)
        self._heartbeat.start(PING_SECONDS, now=False)
        serving = DeferredList([place.serving for place in self._places])
        return serving.addCallback(lambda _: None)

    def stop(self) -> "Deferred[None]":
        """Let all workers drain and exit; fires when the last one is gone."""
        self._stopped = True
        if self._heartbeat.running:
            self._heartbeat.stop()
        gone = DeferredList([place.stop(self._settings.drain + GRACE) for place in self._places])
        return gone.addCallback(lambda _: None)

    def abort(self) -> None:
        """Kill all workers. A store loses nothing by that."""
        for place in self._places:
            place.kill()

    def reopen(self) -> None:
        """Have all workers open their files anew."""
        self._tell_all("reopen")

    def alive(self) -> bool:
        """Return whether any worker serves and has answered recently; a stop has a time limit of its own."""
        return self._stopped or any(place.answers for place in self._places)

    # --- from the places ------------------------------------------------------------------------

    def configuration(self) -> str:
        """Return everything that a worker needs to know, as one line of JSON."""
        sockets = [
            [each.endpoint, FIRST_DESCRIPTOR + at, each.family] for at, each in enumerate(self._listening)
        ]
        return json.dumps(
            {
                "settings": self._settings.to_json(),
                "listening": sockets,
                "reactor": type(self._reactor).__module__,
                "suspensions": list(self._suspensions.values()),
            }
        )

    def descriptors(self) -> dict[int, int]:
        """Return the listening descriptors by the numbers that they have in a worker."""
        return {FIRST_DESCRIPTOR + at: each.descriptor for at, each in enumerate(self._listening)}

    def served(self) -> None:
        """Handle a worker that has begun to serve: what kept the others from starting may be over."""
        for place in self._places:
            place.hasten(MAX_EMPTY_SECONDS)
        self.count()

    def delay(self, seconds: float) -> float:
        """Return the delay of a place that wants to wait `seconds`: shorter, unless another one is due."""
        if any(place.due(MAX_EMPTY_SECONDS) for place in self._places):
            return seconds
        return min(seconds, MAX_EMPTY_SECONDS)

    def count(self) -> None:
        """Report how many workers serve."""
        if not self._stopped:
            serving = sum(place.serves for place in self._places)
            self._status(f"{serving} of {len(self._places)} workers serve")

    def suspended(self, suspension: Suspension) -> None:
        """Tell all workers; what lasts until a restart is kept for those that are started later."""
        scope, _, until_restart = suspension
        if until_restart:
            self._suspensions.setdefault(scope, suspension)
        self._tell_all(json.dumps({"suspended": suspension}))

    def _tell_all(self, words: str) -> None:
        for place in self._places:
            place.tell(words)

    def _beat(self) -> None:
        for place in self._places:
            try:
                place.check()
            except Exception:
                self._log.failure("a worker could not be checked")
