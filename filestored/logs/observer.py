"""Log observer: passes events of twisted.logger to the log's sink, in order.

`LogObserver` keeps lines until a sink is attached, after the fork and the drop of privileges. In the daemon
the sink is a `ThreadedSink` around a `LoguruSink`; in a worker it is a `PipeSink`, whose lines the supervisor
passes to its own observer. Neither blocks the thread that logs.

One process writes the log file. Several writers would each rotate it, and lose lines that other processes
still write to the renamed file. A line of a worker is in the pipe when the call returns, unless the pipe is
full, so the last lines of a killed worker arrive.
"""

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from filestored.logs.journal import as_error
from filestored.logs.log_line import LogLine, from_event

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Errors of a full, read-only or faulty disk; the daemon serves without a log file then."""


class Sink(Protocol):
    """Destination of log lines."""

    def write(self, line: LogLine) -> None:
        """Write a line. Raises `OSError`."""

    def reopen(self) -> None:
        """Reopen the file by its name, after it was moved."""

    def finish(self, seconds: float) -> None:
        """Wait until all lines are written, for at most `seconds`."""


@implementer(ILogObserver)
class LogObserver:
    """Converts events of twisted.logger to lines, and queues them for the sink.

    Any thread and any signal handler may log. While one caller writes to the sink, others only queue.
    """

    def __init__(self) -> None:
        self._waiting: deque[LogLine] = deque()
        self._lock = threading.Lock()
        self._sink: Sink | None = None

    def __call__(self, event: LogEvent) -> None:
        """Write an event of twisted.logger."""
        self.write(from_event(event))

    def write(self, line: LogLine) -> None:
        """Write a line."""
        self._waiting.append(line)
        self._deliver()

    def attach(self, sink: Sink) -> None:
        """Write all lines to this sink, queued ones first."""
        self._sink = sink
        self._deliver()

    def reopen(self) -> None:
        """Reopen the file of the sink."""
        if self._sink is not None:
            with self._lock:
                reopen_sink(self._sink)
            self._deliver()

    def finish(self, seconds: float) -> None:
        """Wait until all lines are written, for at most `seconds`. Blocking; for the end of the process."""
        if self._sink is not None:
            self._sink.finish(seconds)

    def _deliver(self) -> None:
        while self._sink is not None and self._waiting and self._lock.acquire(blocking=False):
            try:
                while self._waiting:
                    write_line(self._sink, self._waiting.popleft())
            finally:
                self._lock.release()


OnDropped = Callable[[int], object]
"""Receives a number of dropped lines, in the thread that has dropped them."""


def ignore(count: int) -> None:
    """Handle dropped lines that are not counted; an `OnDropped`."""


def report_to_stderr(text: str) -> None:
    """Write an error of the log itself to stderr. Does not raise."""
    try:
        os.write(2, f"{as_error(f'filestored: {text}')}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return  # stderr is closed


def dropped_lines(count: int) -> LogLine:
    """Return the line that reports `count` dropped lines."""
    text = f"{count} lines of the log were dropped: it could not be written fast enough"
    return LogLine("WARNING", "filestored.logs", os.getpid(), text)


def write_line(sink: Sink, line: LogLine) -> None:
    """Write a line, or drop it: a log that cannot be written must not stop the service."""
    try:
        sink.write(line)
    except (OSError, ValueError) as error:
        report_to_stderr(f"a line of the log is lost ({error}): {line.text}")


def reopen_sink(sink: Sink) -> None:
    """Reopen the file of a sink; keep the old one if that fails."""
    try:
        sink.reopen()
    except OSError as error:
        report_to_stderr(f"the log cannot be opened again: {error}")
