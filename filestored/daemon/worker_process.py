"""The supervisor's end of one worker process: three pipes, and a heartbeat over two of them.

In: lines of JSON on the worker's stdout. An object with a ``level`` is a log line. ``"serving"`` says that
the worker accepts connections, ``"alive"`` answers a ping, ``{"suspended": [scope, reason, until_restart]}``
reports a `Suspension`. Everything on stderr is logged as it is.

Out: lines on its stdin: the configuration first, then ``ping``, ``reopen`` and suspensions. The end of stdin
means "drain and exit".
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from filestored.daemon.process_setup import reopen_signals_blocked
from filestored.logs.log_line import LogLine, sanitize

PING_SECONDS = 3.0
"""Seconds between two pings of a worker."""

MAX_UNANSWERED = 4
"""Number of unanswered pings from which a worker counts as hung: 15 s after its last answer."""

MAX_START_PINGS = 20
"""The same bound for a worker that does not serve yet: 60 s."""

MAX_LATE_OUTPUT_SECONDS = 1.0
"""Seconds after a worker's exit for which its pipes are read, should another process still hold them."""

_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT}

Suspension = tuple[int | str, str, bool]
"""A device (st_dev) or directory that must not be written to; the reason; whether until a restart."""


class Listener(Protocol):
    """Receiver of the events of a worker process."""

    def served(self, worker: "WorkerProcess") -> None:
        """Handle that the worker has begun to serve."""

    def suspended(self, suspension: Suspension) -> None:
        """Handle that the worker has suspended writes to a device or directory."""

    def exited(self, worker: "WorkerProcess", how: str) -> None:
        """Handle that the process has exited; its last output may follow."""

    def ended(self, worker: "WorkerProcess") -> None:
        """Handle that the process has exited and all of its output has been read."""

    def write(self, line: LogLine) -> None:
        """Write a log line."""


class WorkerProcess(ProcessProtocol):
    """One worker process; `listener` receives its events. `born` is when it was started, in seconds."""

    transport: Any  # set by spawnProcess, before any other call

    def __init__(self, reactor: Any, listener: Listener) -> None:
        self.born = reactor.seconds()
        self.serving = False
        self.exited = False
        self.killed = False
        self.unanswered = 0
        self._reactor = reactor
        self._listener = listener
        self._pid = 0
        self._rests = {1: b"", 2: b""}
        self._late: IDelayedCall | None = None

    def spawn(self, module: str, configuration: str, descriptors: Mapping[int, int]) -> None:
        """Start ``python -m module`` with these inherited descriptors. Raises `OSError`."""
        with reopen_signals_blocked():  # until it has handlers
            self._reactor.spawnProcess(
                self,
                sys.executable,
                # -P: the working directory belongs to the data, nothing is imported from it.
                [sys.executable, "-P", "-m", module],
                env=_environment(),
                childFDs={0: "w", 1: "r", 2: "r", **descriptors},
            )
        self.tell(configuration)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    @property
    def hung(self) -> bool:
        """Whether it has left so many pings unanswered that it has to be killed."""
        return self.unanswered >= (MAX_UNANSWERED if self.serving else MAX_START_PINGS)

    def ping(self) -> None:
        """Ask for a sign of life; a worker that does not serve yet is only counted."""
        self.unanswered += 1
        if self.serving:
            self.tell("ping")

    def tell(self, words: str) -> None:
        """Write a line to the worker; does nothing once its stdin is closed."""
        self.transport.write(words.encode() + b"\n")

    def close_control_pipe(self) -> None:
        """Close its stdin: the worker drains, then exits."""
        self.transport.closeStdin()

    def kill(self) -> None:
        """Send SIGKILL, if it runs."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(signal.SIGKILL)

    # --- from Twisted ---------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Note the process id: the transport forgets it at the exit."""
        self._pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Handle whole lines of stdout and stderr."""
        *lines, self._rests[childFD] = (self._rests[childFD] + data).split(b"\n")
        for line in lines:
            self._line(childFD, line)

    def processExited(self, reason: Failure) -> None:
        """Report the exit at once: a process forked by the worker may hold the pipes open for long."""
        self.exited = True
        self.killed = getattr(reason.value, "signal", None) in _FROM_OUTSIDE
        self._late = self._reactor.callLater(MAX_LATE_OUTPUT_SECONDS, self.transport.loseConnection)
        self._listener.exited(self, _how(reason.value))

    def processEnded(self, reason: Failure) -> None:
        """Handle the last, unfinished lines, then report the end."""
        if self._late is not None and self._late.active():
            self._late.cancel()
        for descriptor, rest in self._rests.items():
            if rest:
                self._line(descriptor, rest)
        self._listener.ended(self)

    # --- lines ----------------------------------------------------------------------------------

    def _line(self, descriptor: int, text: bytes) -> None:
        if descriptor == 1:
            try:
                self._message(json.loads(text))
                return
            except (ValueError, TypeError):
                pass  # half a line of a worker that was killed, or a stray print
        words = sanitize(text.decode("utf-8", "backslashreplace"))
        self._listener.write(LogLine("WARNING", "stderr", self._pid, words))

    def _message(self, message: Any) -> None:
        """Handle a message of the worker; raises `TypeError` or `ValueError` where it is none."""
        if message == "serving":
            self.serving = True
            self.unanswered = 0
            self._listener.served(self)
        elif message == "alive":
            self.unanswered = 0
        elif "suspended" in message:
            scope, reason, until_restart = message["suspended"]
            scope = scope if isinstance(scope, int) else str(scope)
            self._listener.suspended((scope, str(reason), bool(until_restart)))
        else:
            self._listener.write(LogLine(**message))


def _environment() -> dict[str, str]:
    """Return our environment, extended so that a fresh interpreter finds the same sources."""
    sources = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = [sources, *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def _how(reason: Any) -> str:
    if getattr(reason, "signal", None):
        return f"signal {signal.Signals(reason.signal).name}"
    return f"exit status {getattr(reason, 'exitCode', None)}"
