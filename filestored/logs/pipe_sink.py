"""Output pipe of a worker: log lines and control messages to its supervisor, without blocking.

A line is written at once while the pipe has room, so the last lines of a killed worker arrive. Otherwise
lines wait in memory, at most `MAX_WAITING_BYTES`. Further lines are dropped and counted, and a line reports
the count once the pipe has room. Control messages are never dropped, and precede waiting lines.

A worker does not import loguru: formatting, files and rotation are the supervisor's.
"""

import json
import os
import select
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.logs.log_line import LogLine
from filestored.logs.observer import OnDropped, dropped_lines, ignore
from filestored.settings import LEVELS

MAX_WAITING_BYTES = 1 << 20
"""Maximum bytes of log lines that wait for the supervisor."""


@implementer(IWriteDescriptor)
class PipeSink:
    """Writes log lines of at least `level`, and control messages, to the pipe `descriptor`.

    `write` is called by one thread at a time; everything else by the reactor's thread.
    """

    def __init__(self, descriptor: int, level: str) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._min_level = LEVELS.index(level)
        self._reactor: Any = None
        self._messages: deque[bytes] = deque()
        self._lines: deque[bytes] = deque()
        self._unfinished = b""  # the end of a line whose beginning is in the pipe
        self._queued = self._sent = 0  # bytes of lines
        self._dropped = self._reported = 0  # lines
        self.on_dropped: OnDropped = ignore
        """Called with the number of lines that are dropped, in the thread that writes them."""
        self._lock = threading.Lock()
        self._watched = False

    def write(self, line: LogLine) -> None:
        """Write a line as JSON; drop it when too many bytes wait. Raises `OSError`."""
        if LEVELS.index(line.level) < self._min_level:
            return
        data = line.to_json()
        if self._queued - self._sent + len(data) > MAX_WAITING_BYTES:
            self._dropped += 1
            self.on_dropped(1)
        else:
            self._queued += len(data)
            self._lines.append(data)
        self._flush()

    def send(self, message: object) -> None:
        """Write a control message as JSON. Does not raise: without a supervisor the worker ends anyway."""
        self._messages.append(json.dumps(message).encode("ascii") + b"\n")
        with suppress(OSError):
            self._flush()

    def reopen(self) -> None:
        """Nothing to do: a pipe has no name."""

    def watch(self, reactor: Any) -> None:
        """Continue writing from `reactor` whenever the pipe has room."""
        self._reactor = reactor
        with suppress(OSError):
            self._flush()

    def finish(self, seconds: float) -> None:
        """Write what waits, for at most `seconds`. Blocking; for the end of the process."""
        self._reactor = None
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        deadline = time.monotonic() + seconds
        with suppress(OSError):
            while not self._flush() and (left := deadline - time.monotonic()) > 0:
                poll.poll(1000 * left)

    # --- IWriteDescriptor -----------------------------------------------------------------------

    def doWrite(self) -> None:
        """Continue writing: the pipe has room."""
        self._watched = False
        self._reactor.removeWriter(self)
        with suppress(OSError):
            self._flush()

    def fileno(self) -> int:
        """Return the descriptor of the pipe."""
        return self._descriptor

    def connectionLost(self, reason: Failure) -> None:
        """Handle the end of the supervisor or the reactor."""
        self._watched = False

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return "log"

    # --- writing --------------------------------------------------------------------------------

    def _flush(self) -> bool:
        """Write until the pipe is full; return whether nothing waits any more. Raises `OSError`.

        While one thread writes, another thread or a signal handler only queues.
        """
        while self._has_pending() and self._lock.acquire(blocking=False):
            try:
                if not self._drain():
                    self._watch_writable()
                    return False
            finally:
                self._lock.release()
        return not self._has_pending()

    def _has_pending(self) -> bool:
        return bool(self._unfinished or self._messages or self._lines or self._dropped > self._reported)

    def _drain(self) -> bool:
        """Write everything; return whether the pipe took it. Raises `OSError`; discards everything then."""
        try:
            while data := self._unfinished or self._next():
                self._unfinished = data
                self._unfinished = data[os.write(self._descriptor, data) :]
        except BlockingIOError:
            return False
        except OSError:
            self._discard()
            raise
        return True

    def _next(self) -> bytes:
        if self._messages:
            return self._messages.popleft()
        if self._lines:
            data = self._lines.popleft()
            self._sent += len(data)
            return data
        if self._dropped > self._reported:
            count, self._reported = self._dropped - self._reported, self._dropped
            return dropped_lines(count).to_json()
        return b""

    def _discard(self) -> None:
        self._unfinished = b""
        self._messages.clear()
        self._lines.clear()
        self._sent, self._reported = self._queued, self._dropped

    def _watch_writable(self) -> None:
        """Request a call of `doWrite` from the reactor. Thread-safe."""
        if self._reactor is not None and not self._watched:
            self._watched = True
            self._reactor.callFromThread(self._reactor.addWriter, self)
