"""One of the supervisor's places for worker processes: spawns a worker, watches it, replaces it."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from filestored.daemon.backoff import Backoff
from filestored.daemon.worker_process import Suspension, WorkerProcess
from filestored.logs.log_line import LogLine

MAX_ALIVE_UNANSWERED = 2
"""Number of unanswered pings up to which a worker counts as answering, for the watchdog."""


class Owner(Protocol):
    """The parts of `Supervisor` that a place needs."""

    write: Callable[[LogLine], None]
    worker_module: str

    def configuration(self) -> str:
        """Return everything that a worker needs to know, as one line of JSON."""

    def descriptors(self) -> dict[int, int]:
        """Return the listening descriptors by the numbers that they have in a worker."""

    def served(self) -> None:
        """Handle a worker that has begun to serve."""

    def delay(self, seconds: float) -> float:
        """Return the delay of a place that wants to wait `seconds`."""

    def count(self) -> None:
        """Report how many workers serve."""

    def suspended(self, suspension: Suspension) -> None:
        """Tell all workers of a suspension."""


class WorkerSlot:
    """A place for one worker at a time: spawns it, and spawns the next when it exits."""

    _log = Logger()

    def __init__(self, reactor: Any, number: int, owner: Owner) -> None:
        self._reactor = reactor
        self._number = number
        self._owner = owner
        self._backoff = Backoff()
        self._worker: WorkerProcess | None = None
        self._killed: WorkerProcess | None = None
        self._later: IDelayedCall | None = None
        self._stopped = False
        self._gone: Deferred[None] = Deferred()
        self.serving: Deferred[None] = Deferred()
        self.write = owner.write

    @property
    def occupied(self) -> bool:
        """Whether there is a process in this place."""
        return self._worker is not None and not self._worker.exited

    def due(self, seconds: float) -> bool:
        """Return whether there is a process in this place, or will be within `seconds`."""
        return self.occupied or (self._later is not None and self._wait() <= seconds)

    @property
    def serves(self) -> bool:
        """Whether its worker accepts connections."""
        return self._worker is not None and self.occupied and self._worker.serving

    @property
    def answers(self) -> bool:
        """Whether its worker serves and has answered recently."""
        worker = self._worker
        return worker is not None and self.serves and worker.unanswered <= MAX_ALIVE_UNANSWERED

    def spawn(self) -> None:
        """Start a worker in this place. A failure counts as a quick death."""
        self._later = None
        if self._stopped:
            return
        self._worker = WorkerProcess(self._reactor, self)
        try:
            self._worker.spawn(
                self._owner.worker_module, self._owner.configuration(), self._owner.descriptors()
            )
        except Exception as error:  # EAGAIN, ENOMEM, EMFILE; no interpreter any more
            self._worker = None
            self._replace(0.0, f"it could not be started: {error}", interrupted=False)

    def check(self) -> None:
        """Kill the worker if it hangs, else ping it."""
        worker = self._worker
        if worker is None or self._stopped:
            return
        if not worker.hung:
            worker.ping()
        elif worker is not self._killed:  # the kernel may be unable to end it, as long as a disk hangs
            self._killed = worker
            self._log.error(
                "worker {number} (process {pid}) does not answer and is killed",
                number=self._number,
                pid=worker.pid,
            )
            worker.kill()

    def hasten(self, seconds: float) -> None:
        """Start the next worker in `seconds` at the latest, if this place is waiting."""
        if self._later is not None and not self._stopped:
            self._later.reset(min(seconds, self._wait()))

    def _wait(self) -> float:
        assert self._later is not None
        wait: float = self._later.getTime() - self._reactor.seconds()
        return max(0.0, wait)

    def tell(self, words: str) -> None:
        """Write a line to the worker, if there is one."""
        if self._worker is not None:
            self._worker.tell(words)

    def stop(self, patience: float) -> "Deferred[None]":
        """Let the worker drain, but kill it after `patience` seconds. Fires when it is gone."""
        self._stopped = True
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._worker is None:
            self._gone.callback(None)
        else:
            self._worker.close_control_pipe()
            self._later = self._reactor.callLater(patience, self.kill)
        return self._gone

    def kill(self) -> None:
        """Kill the worker."""
        if self._worker is not None:
            self._worker.kill()

    # --- from the worker ------------------------------------------------------------------------

    def served(self, worker: WorkerProcess) -> None:
        """See `Listener`."""
        if worker is not self._worker:
            return
        self._owner.served()
        if not self.serving.called:
            self.serving.callback(None)

    def suspended(self, suspension: Suspension) -> None:
        """See `Listener`."""
        self._owner.suspended(suspension)

    def exited(self, worker: WorkerProcess, how: str) -> None:
        """See `Listener`. On a stop the last output is waited for, see `ended`."""
        if worker is not self._worker or self._stopped:
            return
        self._worker = None
        self._owner.count()
        self._replace(self._reactor.seconds() - worker.born, how, interrupted=worker.serving or worker.killed)

    def ended(self, worker: WorkerProcess) -> None:
        """See `Listener`."""
        if worker is not self._worker or not self._stopped:
            return
        self._worker = None
        if self._later is not None and self._later.active():
            self._later.cancel()
        self._gone.callback(None)

    def _replace(self, lifetime: float, how: str, *, interrupted: bool) -> None:
        pause = self._owner.delay(self._backoff.delay(lifetime, interrupted=interrupted))
        self._later = self._reactor.callLater(pause, self.spawn)
        self._log.error(
            "worker {number} has died ({how}); the next one starts in {pause:g} s",
            number=self._number,
            how=how,
            pause=pause,
        )
