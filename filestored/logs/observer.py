"""The log: from twisted.logger to whoever writes it down.

Flow: twisted.logger event -> `LogObserver`, which is there from the first line on and keeps what comes
before there is a sink -> after the fork and once privileges are shed, a sink is attached and gets
everything, in order. In the daemon that is a `ThreadedSink` around a `LoguruSink`; in a worker a `PipeSink`,
whose lines the supervisor hands to its own observer. Neither blocks the thread that logs.

One process owns the log file. If several wrote it, each would rotate it, and lose the lines that the
others still wrote to the file renamed. One writer, fed through pipes, needs no locks, and a worker's
last words arrive even if it is killed: a line is in the pipe when the call returns, unless the pipe is full.
"""

import errno
import os
import threading
from collections import deque
from typing import Protocol

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from filestored.logs.log_line import LogLine, from_event

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Errors of a full, read-only or faulty disk, with which a log file cannot be made; serving goes on."""


class Sink(Protocol):
    """Where lines end."""

    def write(self, line: LogLine) -> None:
        """Write a line. Raises `OSError`."""

    def reopen(self) -> None:
        """Begin the file anew under its name, after somebody has moved it away."""

    def finish(self, seconds: float) -> None:
        """Wait until all lines are written, for at most `seconds`."""


@implementer(ILogObserver)
class LogObserver:
    """Takes the events of twisted.logger, keeps them until there is a sink, then passes them on.

    Any thread may log, and a signal handler may log in the midst of a line being written: whoever
    finds the sink busy leaves the line to the one who is there.
    """

    def __init__(self) -> None:
        self._waiting: deque[LogLine] = deque()
        self._lock = threading.Lock()
        self._sink: Sink | None = None

    def __call__(self, event: LogEvent) -> None:
        """Take an event of twisted.logger."""
        self.write(from_event(event))

    def write(self, line: LogLine) -> None:
        """Take a line that is ready."""
        self._waiting.append(line)
        self._deliver()

    def attach(self, sink: Sink) -> None:
        """Give all lines to this sink, those that came before it first."""
        self._sink = sink
        self._deliver()

    def reopen(self) -> None:
        """Let the sink open its file again."""
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


def report_to_stderr(text: str) -> None:
    """Tell stderr what has gone wrong with the log itself. Does not raise."""
    try:
        os.write(2, f"filestored: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return  # nobody is left to tell


def dropped_lines(count: int) -> LogLine:
    """Return the line that stands for `count` others that were dropped."""
    text = f"{count} lines of the log were dropped: it could not be written fast enough"
    return LogLine("WARNING", "filestored.logs", os.getpid(), text)


def write_line(sink: Sink, line: LogLine) -> None:
    """Write a line, or drop it: a log that cannot be written must not stop the service."""
    try:
        sink.write(line)
    except (OSError, ValueError) as error:
        report_to_stderr(f"a line of the log is lost ({error}): {line.text}")


def reopen_sink(sink: Sink) -> None:
    """Reopen the file of a sink, or go on in the old one."""
    try:
        sink.reopen()
    except OSError as error:
        report_to_stderr(f"the log cannot be opened again: {error}")
