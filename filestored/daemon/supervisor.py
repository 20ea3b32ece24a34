"""Supervisor of several worker processes that share the listening sockets.

`Supervisor.start` spawns fresh interpreters, not forks. Each worker inherits the listening descriptors and
reads its configuration as one line of JSON from stdin. A line on its stdout reports that it serves. stdin is
the control pipe from then on: ``ping``, ``reopen``, certificates and suspensions are written to it; its end
means "drain and exit". The kernel closes it when the supervisor is killed, so no worker outlives the
supervisor. stdout carries the worker's log, one JSON object per line; lines of stderr are logged as they are.

A worker that exits, hangs or cannot be started is replaced at once; with growing delays after five quick
exits (`backoff`). Delays never leave the service without any worker for longer than `MAX_EMPTY_SECONDS`.

A worker that suspends writes to a device or directory reports it. The supervisor passes that on to all
workers and to each new one: the health of a disk concerns the whole service.

Rejected: the configuration in argv, which every local user can read; signals for control, which a killed
supervisor cannot send.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from filestored.daemon.listeners import ListeningSocket
from filestored.daemon.periodic_call import periodic_call
from filestored.daemon.worker_process import PING_SECONDS, Suspension
from filestored.daemon.worker_slot import WorkerSlot
from filestored.http.transport.tls import Certificate
from filestored.logs.log_line import LogLine
from filestored.metrics.blocks import SharedBlocks
from filestored.settings import Settings

KILL_AFTER_SECONDS = 5.0
"""Seconds after the drain timeout until a stopping worker is killed."""

MAX_EMPTY_SECONDS = 2.0
"""Maximum restart delay while no other worker runs or is due."""

FIRST_DESCRIPTOR = 3
"""Number of the first listening descriptor in a worker; others follow."""


class Supervisor:
    """Keeps ``settings.workers`` processes running.

    `access` has the rules of access, as JSON. `log` writes their lines. `status` receives a sentence whenever
    the number of serving workers changes. `worker_module` is run with ``python -m``. Each worker inherits
    `metrics`, and writes to the block of its slot. `restarts` counts workers that have died.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        log: Callable[[LogLine], None],
        status: Callable[[str], None],
        worker_module: str,
        access: str | None = None,
        metrics: SharedBlocks | None = None,
    ) -> None:
        self.worker_module = worker_module
        self.restarts = 0
        self._reactor = reactor
        self._settings = settings
        self._access = access
        self._metrics = metrics
        self._status = status
        self._listening: Sequence[ListeningSocket] = ()
        self._slots: list[WorkerSlot] = []
        self._suspensions: dict[int | str, Suspension] = {}
        self._heartbeat = periodic_call(reactor, self._check_workers)
        self._stopped = False
        self.write = log

    def start(self, listening: Sequence[ListeningSocket]) -> "Deferred[None]":
        """Spawn the workers once the reactor runs; fires when all of them serve."""
        self._listening = listening
        self._slots = [
            WorkerSlot(self._reactor, number, self) for number in range(1, self._settings.workers + 1)
        ]
        for slot in self._slots:
            self._reactor.callWhenRunning(slot.spawn)
        self._heartbeat.start(PING_SECONDS, now=False)
        serving = DeferredList([slot.serving for slot in self._slots])
        return serving.addCallback(lambda _: None)

    def stop(self) -> "Deferred[None]":
        """Let all workers drain and exit; fires when the last one has exited."""
        self._stopped = True
        if self._heartbeat.running:
            self._heartbeat.stop()
        gone = DeferredList([slot.stop(self._settings.drain + KILL_AFTER_SECONDS) for slot in self._slots])
        return gone.addCallback(lambda _: None)

    def abort(self) -> None:
        """Kill all workers. No acknowledged data is lost."""
        for slot in self._slots:
            slot.kill()

    def reopen(self) -> None:
        """Let all workers reopen their log files."""
        self._send_all("reopen")

    def renew_certificates(self, certificates: Sequence[Certificate | None]) -> None:
        """Let all workers, also later ones, use these certificates, one for each listening socket."""
        pairs = zip(self._listening, certificates, strict=True)
        self._listening = [replace(each, certificate=certificate) for each, certificate in pairs]
        self._send_all(json.dumps({"certificates": [_to_json(each) for each in certificates]}))

    def use_access(self, text: str) -> None:
        """Let all workers, also later ones, use these rules of access, which are JSON of `AccessRules`."""
        self._access = text
        self._send_all(json.dumps({"access": text}))

    def alive(self) -> bool:
        """Return whether any worker serves and answered a recent ping; True while stopping."""
        return self._stopped or self.serving() > 0

    def serving(self) -> int:
        """Return the number of workers that accept connections, and answered a recent ping."""
        return sum(slot.is_answering for slot in self._slots)

    # --- from the slots ------------------------------------------------------------------------

    def worker_config(self, number: int) -> str:
        """Return the configuration of the worker in the slot `number`, from 1 on, as one line of JSON."""
        sockets = [
            [each.endpoint, FIRST_DESCRIPTOR + at, _to_json(each.certificate)]
            for at, each in enumerate(self._listening)
        ]
        return json.dumps(
            {
                "settings": self._settings.to_json(),
                "access": self._access,
                "listening": sockets,
                "reactor": type(self._reactor).__module__,
                "suspensions": list(self._suspensions.values()),
                "metrics": self._place_of_metrics(number),
            }
        )

    def descriptors(self) -> dict[int, int]:
        """Map the descriptor numbers in a worker to the listening descriptors."""
        found = {FIRST_DESCRIPTOR + at: each.descriptor for at, each in enumerate(self._listening)}
        if self._metrics is not None and self._metrics.descriptor is not None:
            found[self._metrics_descriptor] = self._metrics.descriptor
        return found

    def _place_of_metrics(self, number: int) -> tuple[int, int, int] | None:
        """Return the descriptor in a worker, the number of blocks, and that of its own block from 0 on."""
        if self._metrics is None:
            return None
        return self._metrics_descriptor, len(self._metrics.blocks), number - 1

    @property
    def _metrics_descriptor(self) -> int:
        """The descriptor number of the blocks of metrics in a worker."""
        return FIRST_DESCRIPTOR + len(self._listening)

    def served(self) -> None:
        """Handle that a worker serves: the cause of failed starts may be gone, so restarts are due soon."""
        for slot in self._slots:
            slot.limit_restart_delay(MAX_EMPTY_SECONDS)
        self._count()

    def delay(self, seconds: float) -> float:
        """Return the restart delay: `seconds`, but bounded unless another slot has a worker or is due."""
        if any(slot.is_due(MAX_EMPTY_SECONDS) for slot in self._slots):
            return seconds
        return min(seconds, MAX_EMPTY_SECONDS)

    def died(self, number: int) -> None:
        """Handle that the worker in the slot `number` has died, and will be replaced."""
        self.restarts += 1
        if self._metrics is not None:
            self._metrics.blocks[number - 1].clear_gauges()
        self._count()

    def _count(self) -> None:
        """Report the number of serving workers."""
        if not self._stopped:
            self._status(f"{self.serving()} of {len(self._slots)} workers serve")

    def suspended(self, suspension: Suspension) -> None:
        """Send a suspension to all workers; keep one that lasts until a restart for later workers."""
        scope, _, until_restart = suspension
        if until_restart:
            self._suspensions.setdefault(scope, suspension)
        self._send_all(json.dumps({"suspended": suspension}))

    def _send_all(self, line: str) -> None:
        for slot in self._slots:
            slot.send(line)

    def _check_workers(self) -> None:
        for slot in self._slots:
            try:
                slot.check()
            except Exception:
                self._log.failure("a worker could not be checked")


def _to_json(certificate: Certificate | None) -> dict[str, str] | None:
    return None if certificate is None else asdict(certificate)
