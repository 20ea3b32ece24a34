"""Count of the files of a store, by a child process of idle priority.

The child is ``filestored stat STORE --json``. It runs `START_SECONDS` after the start of the daemon, then
after an interval of at least `MIN_INTERVAL_SECONDS` and `PAUSE_FACTOR` times its own duration. In an object
store each thousand files cost a request, so the minimum is longer there.
"""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from time import time
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.daemon.process_setup import reopen_signals_blocked
from filestored.daemon.worker_process import child_environment, exit_reason
from filestored.storage.maintenance.idle_priority import use_idle_priority
from filestored.storage.object_store.url import is_url

START_SECONDS = 2.0
"""Seconds between the start of the daemon and that of the first child."""

MIN_INTERVAL_SECONDS = 300.0
"""Minimum of the interval on a disk. The start of the interpreter alone takes half a second."""

MIN_REMOTE_INTERVAL_SECONDS = 3600.0
"""Minimum of the interval in an object store."""

PAUSE_FACTOR = 20
"""The child runs for at most one of so many seconds."""

MAX_OUTPUT_BYTES = 64 * 1024
"""Maximum bytes of output that are kept."""


MAX_REASON_CHARACTERS = 500
"""Maximum length of an error of the child in the log."""


class StoreCount:
    """The last count of `store`, a directory or a URL: `files`, `bytes`, and `counted_at`.

    `counted_at` is in seconds since the epoch, and 0 before the first count.
    """

    _log = Logger()

    def __init__(self, reactor: Any, store: str, now: Callable[[], float] = time) -> None:
        self._reactor = reactor
        self._store = store
        self._now = now
        self._min_interval = MIN_REMOTE_INTERVAL_SECONDS if is_url(store) else MIN_INTERVAL_SECONDS
        self._child: _Child | None = None
        self._later: IDelayedCall | None = None
        self._stopped = self._failed = False
        self.files = self.bytes = 0
        self.counted_at = 0.0

    def start(self) -> None:
        """Count after `START_SECONDS`, and again after each interval."""
        self._later = self._reactor.callLater(START_SECONDS, self._count)

    def _count(self) -> None:
        self._later = None
        child = _Child(self._reactor.seconds(), self._ended)
        command = [sys.executable, "-P", "-m", "filestored", "stat", self._store, "--json"]
        try:
            with reopen_signals_blocked():  # for the daemon, and sent to all processes of a service
                self._reactor.spawnProcess(
                    child, sys.executable, command, env=child_environment(), childFDs={1: "r", 2: "r"}
                )
        except Exception as error:  # EAGAIN, ENOMEM, EMFILE; the interpreter was removed
            self._report(str(error))
            self._schedule(0.0)
        else:
            self._child = child

    def stop(self) -> None:
        """Kill a running count, and start no other one."""
        self._stopped = True
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._child is not None:
            self._child.kill()

    def _ended(self, child: "_Child") -> None:
        self._child = None
        if self._stopped:
            return
        try:
            found = json.loads(child.output[1])
            self.files, self.bytes = int(found["files"]), int(found["bytes"])
        except (ValueError, TypeError, KeyError):
            errors = child.output[2].decode("utf-8", "backslashreplace").strip()
            self._report(errors[-MAX_REASON_CHARACTERS:] or child.exit_reason)
        else:
            self.counted_at = self._now()
            self._failed = False
        self._schedule(self._reactor.seconds() - child.started_at)

    def _report(self, reason: str) -> None:
        """Log the first of several failures in a row."""
        if not self._failed:
            self._failed = True
            self._log.warn("the files of the store could not be counted: {reason}", reason=reason)

    def _schedule(self, duration: float) -> None:
        self._later = self._reactor.callLater(max(self._min_interval, PAUSE_FACTOR * duration), self._count)


class _Child(ProcessProtocol):
    """One count; `ended` is called with it at its end. `output` is what it has written, by descriptor."""

    transport: Any

    def __init__(self, started_at: float, ended: "Callable[[_Child], None]") -> None:
        self.started_at = started_at
        self.output = {1: b"", 2: b""}
        self.exit_reason = ""
        self._on_end = ended

    def connectionMade(self) -> None:
        """Lower the priority of the process."""
        use_idle_priority(self.transport.pid)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the output."""
        self.output[childFD] = (self.output[childFD] + data)[-MAX_OUTPUT_BYTES:]

    def processEnded(self, reason: Failure) -> None:
        """Report the end."""
        self.exit_reason = exit_reason(reason.value)
        self._on_end(self)

    def kill(self) -> None:
        """Send SIGKILL, if it runs."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")
