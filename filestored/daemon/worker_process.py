"""Worker process, seen by the supervisor: three pipes, and a ping over two of them.

In: lines of JSON on the worker's stdout. An object with a ``level`` is a log line. ``"serving"`` says that
the worker accepts connections, ``"alive"`` answers a ping, ``{"suspended": [scope, reason, until_restart]}``
reports a `Suspension`. Lines of stderr are logged as they are.

Out: lines on its stdin: the configuration first, then ``ping``, ``reopen``, renewed certificates and
suspensions. The end of stdin means "drain and exit".
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
"""Interval of pings."""

MAX_UNANSWERED = 4
"""Unanswered pings after which a worker counts as hung: 15 s after its last answer."""

MAX_START_PINGS = 20
"""The same limit for a worker that does not serve yet: 60 s."""

MAX_LATE_OUTPUT_SECONDS = 1.0
"""Time after the exit in which the pipes are read, if another process holds them open."""

_EXTERNAL_SIGNALS = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT}

Suspension = tuple[int | str, str, bool]
"""Device (st_dev) or directory without writes; the reason; whether it lasts until a restart."""


class WorkerListener(Protocol):
    """Receiver of the events of a worker process."""

    def served(self, worker: "WorkerProcess") -> None:
        """Handle that the worker serves."""

    def suspended(self, suspension: Suspension) -> None:
        """Handle that the worker has suspended writes to a device or directory."""

    def exited(self, worker: "WorkerProcess", reason: str) -> None:
        """Handle that the process exited; its last output may follow."""

    def ended(self, worker: "WorkerProcess") -> None:
        """Handle that the process has exited and all of its output has been read."""

    def write(self, line: LogLine) -> None:
        """Write a log line."""


class WorkerProcess(ProcessProtocol):
    """One worker process; `listener` receives its events. `started_at` in seconds of the reactor's clock."""

    transport: Any  # set by spawnProcess, before any other call

    def __init__(self, reactor: Any, listener: WorkerListener) -> None:
        self.started_at = reactor.seconds()
        self.serving = False
        self.exited = False
        self.killed = False
        self.unanswered = 0
        self._reactor = reactor
        self._listener = listener
        self._pid = 0
        self._partial_lines = {1: b"", 2: b""}
        self._late: IDelayedCall | None = None

    def spawn(self, module: str, worker_config: str, descriptors: Mapping[int, int]) -> None:
        """Spawn ``python -m module`` with inherited descriptors. Raises `OSError`."""
        with reopen_signals_blocked():  # until it has handlers
            self._reactor.spawnProcess(
                self,
                sys.executable,
                # -P: nothing is imported from the working directory, which holds data.
                [sys.executable, "-P", "-m", module],
                env=child_environment(),
                childFDs={0: "w", 1: "r", 2: "r", **descriptors},
            )
        self.send(worker_config)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._pid

    @property
    def hung(self) -> bool:
        """True after too many unanswered pings."""
        return self.unanswered >= (MAX_UNANSWERED if self.serving else MAX_START_PINGS)

    def ping(self) -> None:
        """Send a ping, if the worker serves; count it as unanswered."""
        self.unanswered += 1
        if self.serving:
            self.send("ping")

    def send(self, line: str) -> None:
        """Send a line to the worker; has no effect after its stdin is closed."""
        self.transport.write(line.encode() + b"\n")

    def close_control_pipe(self) -> None:
        """Close the worker's stdin: it drains, then exits."""
        self.transport.closeStdin()

    def kill(self) -> None:
        """Send SIGKILL, if it runs."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(signal.SIGKILL)

    # --- from Twisted ---------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Store the process id: the transport clears it at the exit."""
        self._pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Handle whole lines of stdout and stderr."""
        *lines, self._partial_lines[childFD] = (self._partial_lines[childFD] + data).split(b"\n")
        for line in lines:
            self._line(childFD, line)

    def processExited(self, reason: Failure) -> None:
        """Report the exit at once: a child of the worker may hold the pipes open."""
        self.exited = True
        self.killed = getattr(reason.value, "signal", None) in _EXTERNAL_SIGNALS
        self._late = self._reactor.callLater(MAX_LATE_OUTPUT_SECONDS, self.transport.loseConnection)
        self._listener.exited(self, exit_reason(reason.value))

    def processEnded(self, reason: Failure) -> None:
        """Handle unfinished lines, then report the end."""
        if self._late is not None and self._late.active():
            self._late.cancel()
        for descriptor, rest in self._partial_lines.items():
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
                pass  # half a line of a killed worker, or output of a library
        line = sanitize(text.decode("utf-8", "backslashreplace"))
        self._listener.write(LogLine("WARNING", "stderr", self._pid, line))

    def _message(self, message: Any) -> None:
        """Handle a message of the worker. Raises `TypeError` or `ValueError` for an invalid one."""
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


def child_environment() -> dict[str, str]:
    """Return the environment, with PYTHONPATH extended so that the worker imports the same sources."""
    sources = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = [sources, *filter(None, [os.environ.get("PYTHONPATH")])]
    not_inherited = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
    kept = {name: value for name, value in os.environ.items() if name not in not_inherited}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def exit_reason(reason: Any) -> str:
    """Return the signal or the exit status of a process, from the error that `processEnded` gets."""
    if getattr(reason, "signal", None):
        return f"signal {signal.Signals(reason.signal).name}"
    return f"exit status {getattr(reason, 'exitCode', None)}"
