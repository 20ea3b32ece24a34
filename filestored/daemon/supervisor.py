"""Several processes on one listening socket, and one that looks after them.

Flow: `Supervisor.start` spawns fresh interpreters, never copies of itself; each inherits the
listening descriptors, reads its `Settings` as one line of JSON from stdin, and tells by a line on
stdout that it serves. From then on stdin is the leash: ``reopen`` is the only word on it, and its end
means "finish what you do, then go". The kernel ends it for us too, when this process is killed: no
orphan goes on. stdout carries the worker's log, one JSON object a line; stderr what the
interpreter says in despair.

A worker that dies is replaced at once; after five quick deaths in a row, with growing pauses.

Rejected: configuration in argv, which every user of the machine can read; signals as the leash, which
a parent that was killed cannot send.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.daemon.listeners import Listening
from filestored.daemon.settings import Settings
from filestored.logs.lines import Line, presentable

QUICK_DEATHS = 5
"""So many workers in a row may die young in one place before we wait."""

YOUNG = 10.0
"""Seconds; a worker that lives longer did not die of its beginning."""

LONGEST_PAUSE = 30.0
"""Seconds between two tries, at most."""

GRACE = 5.0
"""Seconds that a worker may take beyond its time for draining."""

FIRST_DESCRIPTOR = 3
"""The number of the first listening descriptor in a worker; others follow it."""


class Backoff:
    """Decides how long to wait before a worker is replaced."""

    def __init__(self) -> None:
        self._quick = 0

    def pause(self, lifetime: float) -> float:
        """Seconds to wait after a worker that has lived this many."""
        self._quick = self._quick + 1 if lifetime < YOUNG else 0
        if self._quick < QUICK_DEATHS:
            return 0.0
        return min(LONGEST_PAUSE, 2.0 ** (self._quick - QUICK_DEATHS))


class Supervisor:
    """Keeps ``settings.workers`` processes running; `log` takes their lines."""

    def __init__(self, reactor: Any, settings: Settings, log: Callable[[Line], None]) -> None:
        self._reactor = reactor
        self._settings = settings
        self._write = log
        self._places: list[_Place] = []

    def start(self, listening: Sequence[Listening]) -> "Deferred[None]":
        """Spawn the workers, once the reactor runs that will bury them. Fires when all of them serve."""
        self._places = [
            _Place(self._reactor, number, self._settings, listening, self._write)
            for number in range(1, self._settings.workers + 1)
        ]
        for place in self._places:
            self._reactor.callWhenRunning(place.spawn)
        serving = DeferredList([place.serving for place in self._places])
        return serving.addCallback(lambda _: None)

    def stop(self) -> "Deferred[None]":
        """Let all workers finish; fires when the last one is gone."""
        gone = DeferredList([place.stop(self._settings.drain + GRACE) for place in self._places])
        return gone.addCallback(lambda _: None)

    def abort(self) -> None:
        """End all workers now. The store is made for that."""
        for place in self._places:
            place.kill()

    def reopen(self) -> None:
        """Have all workers open their files anew."""
        for place in self._places:
            place.reopen()


class _Place:
    """A place for one worker at a time: spawns it, and spawns the next when it dies."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        number: int,
        settings: Settings,
        listening: Sequence[Listening],
        write: Callable[[Line], None],
    ) -> None:
        self._reactor = reactor
        self._number = number
        self._settings = settings
        self._listening = listening
        self._write = write
        self._backoff = Backoff()
        self._worker: _Worker | None = None
        self._later: IDelayedCall | None = None
        self._stopped = False
        self._gone: Deferred[None] = Deferred()
        self.serving: Deferred[None] = Deferred()

    def spawn(self) -> None:
        """Start a worker in this place."""
        self._later = None
        if self._stopped:
            return
        self._worker = _Worker(self._reactor.seconds(), self._served, self._died, self._write)
        inherited = {FIRST_DESCRIPTOR + at: each.descriptor for at, each in enumerate(self._listening)}
        self._reactor.spawnProcess(
            self._worker,
            sys.executable,
            # -P: the working directory belongs to the data, nothing is imported from it.
            [sys.executable, "-P", "-m", "filestored.daemon.worker"],
            env=_environment(),
            childFDs={0: "w", 1: "r", 2: "r", **inherited},
        )
        self._worker.tell(_charge(self._reactor, self._settings, self._listening))

    def reopen(self) -> None:
        """Have the worker open its files anew."""
        if self._worker is not None:
            self._worker.tell("reopen")

    def stop(self, patience: float) -> "Deferred[None]":
        """Let the worker finish, but kill it after `patience` seconds. Fires when it is gone."""
        self._stopped = True
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._worker is None:
            self._gone.callback(None)
        else:
            self._worker.let_go()
            self._later = self._reactor.callLater(patience, self.kill)
        return self._gone

    def kill(self) -> None:
        """End the worker now."""
        if self._worker is not None:
            self._worker.kill()

    def _served(self) -> None:
        if not self.serving.called:
            self.serving.callback(None)

    def _died(self, born: float, how: str) -> None:
        self._worker = None
        if self._stopped:
            if self._later is not None and self._later.active():
                self._later.cancel()
            self._gone.callback(None)
            return
        pause = self._backoff.pause(self._reactor.seconds() - born)
        self._log.error(
            "worker {number} has died ({how}); the next one starts in {pause:g} s",
            number=self._number,
            how=how,
            pause=pause,
        )
        self._later = self._reactor.callLater(pause, self.spawn)


class _Worker(ProcessProtocol):
    """The three pipes to one worker process."""

    transport: Any  # there before anybody calls us

    def __init__(
        self,
        born: float,
        served: Callable[[], None],
        died: Callable[[float, str], None],
        write: Callable[[Line], None],
    ) -> None:
        self._born = born
        self._served = served
        self._died = died
        self._write = write
        self._pid = 0
        self._rests = {1: b"", 2: b""}

    def connectionMade(self) -> None:
        self._pid = self.transport.pid

    def tell(self, words: str) -> None:
        """Write a line to the worker."""
        self.transport.write(words.encode() + b"\n")

    def let_go(self) -> None:
        """End the leash: the worker finishes what it does, then goes."""
        self.transport.closeStdin()

    def kill(self) -> None:
        """End it now, if it runs."""
        try:
            self.transport.signalProcess(signal.SIGKILL)
        except ProcessExitedAlready:
            return

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, self._rests[childFD] = (self._rests[childFD] + data).split(b"\n")
        for line in lines:
            self._line(childFD, line)

    def processEnded(self, reason: Failure) -> None:
        for descriptor, rest in self._rests.items():
            if rest:
                self._line(descriptor, rest)
        self._died(self._born, _how(reason.value))

    def _line(self, descriptor: int, text: bytes) -> None:
        if descriptor == 1:
            try:
                said = json.loads(text)
                if said == "serving":
                    self._served()
                else:
                    self._write(Line(**said))
                return
            except (ValueError, TypeError):
                pass  # half a line of a worker that was killed, or a stray print
        words = presentable(text.decode("utf-8", "backslashreplace"))
        self._write(Line("WARNING", "stderr", self._pid, words))


def _charge(reactor: Any, settings: Settings, listening: Sequence[Listening]) -> str:
    """What a worker needs to know, as one line of JSON."""
    sockets = [[each.endpoint, FIRST_DESCRIPTOR + at, each.family] for at, each in enumerate(listening)]
    return json.dumps(
        {"settings": settings.to_json(), "listening": sockets, "reactor": type(reactor).__module__}
    )


def _environment() -> dict[str, str]:
    """Our environment, in which a fresh interpreter finds the same sources, installed or not."""
    sources = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = [sources, *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def _how(reason: Any) -> str:
    if getattr(reason, "signal", None):
        return f"signal {signal.Signals(reason.signal).name}"
    return f"exit status {getattr(reason, 'exitCode', None)}"
