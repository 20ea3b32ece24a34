"""Worker slot of the supervisor: spawns a worker, monitors it, replaces it."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from filestored.daemon.backoff import Backoff
from filestored.daemon.worker_process import Suspension, WorkerProcess
from filestored.logs.log_line import LogLine

MAX_ALIVE_UNANSWERED = 2
"""Unanswered pings up to which a worker counts as alive for the watchdog."""


class SlotOwner(Protocol):
    """The methods of `Supervisor` that a slot calls."""

    write: Callable[[LogLine], None]
    worker_module: str

    def worker_config(self, number: int) -> str:
        """Return the configuration of the worker in the slot `number` as one line of JSON."""

    def descriptors(self) -> dict[int, int]:
        """Map the descriptor numbers in a worker to the listening descriptors."""

    def served(self) -> None:
        """Handle that a worker serves."""

    def delay(self, seconds: float) -> float:
        """Return the bounded restart delay for a delay of `seconds`."""

    def died(self, number: int) -> None:
        """Handle that the worker in the slot `number` has died, and will be replaced."""

    def suspended(self, suspension: Suspension) -> None:
        """Send a suspension to all workers."""


class WorkerSlot:
    """Runs one worker at a time, and spawns the next one when it exits."""

    _log = Logger()

    def __init__(self, reactor: Any, number: int, owner: SlotOwner) -> None:
        self._reactor = reactor
        self._number = number
        self._owner = owner
        self._backoff = Backoff()
        self._worker: WorkerProcess | None = None
        self._killed: WorkerProcess | None = None
        self._later: IDelayedCall | None = None
        self._stopped = False
        self._ended: Deferred[None] = Deferred()
        self.serving: Deferred[None] = Deferred()
        self.write = owner.write

    @property
    def has_process(self) -> bool:
        """True while a process runs in this slot."""
        return self._worker is not None and not self._worker.exited

    def is_due(self, seconds: float) -> bool:
        """Return whether a process runs in this slot or will be spawned within `seconds`."""
        return self.has_process or (self._later is not None and self._wait() <= seconds)

    @property
    def is_answering(self) -> bool:
        """True while its worker accepts connections and answers pings."""
        worker = self._worker
        if worker is None or worker.exited:
            return False
        return worker.serving and worker.unanswered <= MAX_ALIVE_UNANSWERED

    def spawn(self) -> None:
        """Spawn a worker; a failure counts as a quick exit."""
        self._later = None
        if self._stopped:
            return
        self._worker = WorkerProcess(self._reactor, self)
        try:
            self._worker.spawn(
                self._owner.worker_module, self._owner.worker_config(self._number), self._owner.descriptors()
            )
        except Exception as error:  # EAGAIN, ENOMEM, EMFILE; the interpreter was removed
            self._worker = None
            self._replace(0.0, f"it could not be started: {error}", interrupted=False)

    def check(self) -> None:
        """Kill the worker if it hangs, else ping it."""
        worker = self._worker
        if worker is None or self._stopped:
            return
        if not worker.hung:
            worker.ping()
        elif worker is not self._killed:  # the kernel may be unable to end it while a disk hangs
            self._killed = worker
            self._log.error(
                "worker {number} (process {pid}) does not answer and is killed",
                number=self._number,
                pid=worker.pid,
            )
            worker.kill()

    def limit_restart_delay(self, seconds: float) -> None:
        """Shorten a pending restart delay to `seconds`."""
        if self._later is not None and not self._stopped:
            self._later.reset(min(seconds, self._wait()))

    def _wait(self) -> float:
        assert self._later is not None
        wait: float = self._later.getTime() - self._reactor.seconds()
        return max(0.0, wait)

    def send(self, line: str) -> None:
        """Send a line to the worker, if there is one."""
        if self._worker is not None:
            self._worker.send(line)

    def stop(self, timeout: float) -> "Deferred[None]":
        """Let the worker drain; kill it after `timeout` seconds. Fires when it has exited."""
        self._stopped = True
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._worker is None:
            self._ended.callback(None)
        else:
            self._worker.close_control_pipe()
            self._later = self._reactor.callLater(timeout, self.kill)
        return self._ended

    def kill(self) -> None:
        """Kill the worker."""
        if self._worker is not None:
            self._worker.kill()

    # --- from the worker ------------------------------------------------------------------------

    def served(self, worker: WorkerProcess) -> None:
        """See `WorkerListener`."""
        if worker is not self._worker:
            return
        self._owner.served()
        if not self.serving.called:
            self.serving.callback(None)

    def suspended(self, suspension: Suspension) -> None:
        """See `WorkerListener`."""
        self._owner.suspended(suspension)

    def exited(self, worker: WorkerProcess, reason: str) -> None:
        """See `WorkerListener`. A stop waits for `ended`, after the last output."""
        if worker is not self._worker or self._stopped:
            return
        self._worker = None
        self._owner.died(self._number)
        self._replace(
            self._reactor.seconds() - worker.started_at, reason, interrupted=worker.serving or worker.killed
        )

    def ended(self, worker: WorkerProcess) -> None:
        """See `WorkerListener`."""
        if worker is not self._worker or not self._stopped:
            return
        self._worker = None
        if self._later is not None and self._later.active():
            self._later.cancel()
        self._ended.callback(None)

    def _replace(self, lifetime: float, reason: str, *, interrupted: bool) -> None:
        pause = self._owner.delay(self._backoff.delay(lifetime, interrupted=interrupted))
        self._later = self._reactor.callLater(pause, self.spawn)
        self._log.error(
            "worker {number} has died ({reason}); the next one starts in {pause:g} s",
            number=self._number,
            reason=reason,
            pause=pause,
        )
