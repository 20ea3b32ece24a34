"""The child process that verifies one store, as the daemon sees it: it gets a task, and sends events."""

import json
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Protocol

from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.daemon.process_setup import reopen_signals_blocked
from filestored.daemon.verification.task import Task
from filestored.daemon.worker_process import child_environment, exit_reason
from filestored.logs.log_line import sanitize

CHILD_MODULE = "filestored.daemon.verification.child"

_MAX_LINE_BYTES = 64 * 1024


class EventListener(Protocol):
    """Receiver of the events of the child."""

    def received(self, event: str, fields: Mapping[str, Any]) -> None:
        """Handle an event."""

    def ended(self, reason: str) -> None:
        """Handle that the process has ended; `reason` is empty after an orderly end."""


class VerificationProcess(ProcessProtocol):
    """One child process; `listener` receives its events."""

    transport: Any  # set by spawnProcess, before any other call
    _log = Logger()

    def __init__(self, listener: EventListener) -> None:
        self._listener = listener
        self._partial_lines = {1: b"", 2: b""}

    def spawn(self, reactor: Any, task: Task) -> None:
        """Spawn the process. Raises `OSError`."""
        with reopen_signals_blocked():
            reactor.spawnProcess(
                self,
                sys.executable,
                [sys.executable, "-P", "-m", CHILD_MODULE],
                env=child_environment(),
                childFDs={0: "w", 1: "r", 2: "r"},
            )
        self.transport.write(json.dumps(asdict(task)).encode() + b"\n")

    def stop(self) -> None:
        """Close its stdin: it records its state, and ends."""
        self.transport.closeStdin()

    def kill(self) -> None:
        """Send SIGKILL, if it runs."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(signal.SIGKILL)

    # --- from Twisted ---------------------------------------------------------------------------

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Handle whole lines of stdout and stderr."""
        *lines, self._partial_lines[childFD] = (self._partial_lines[childFD] + data).split(b"\n")
        for line in lines:
            self._line(childFD, line)
        self._partial_lines[childFD] = self._partial_lines[childFD][:_MAX_LINE_BYTES]

    def processEnded(self, reason: Failure) -> None:
        """Report the end; all output was read."""
        self._listener.ended("" if reason.check(ProcessDone) else exit_reason(reason.value))

    def _line(self, descriptor: int, text: bytes) -> None:
        if descriptor == 1:
            try:
                fields = json.loads(text)
                self._listener.received(fields.pop("event"), fields)
                return
            except (ValueError, TypeError, LookupError, AttributeError):
                pass  # half a line of a killed process, or output of a library
        line = sanitize(text.decode("utf-8", "backslashreplace"))
        self._log.warn("verification: {line}", line=line)
