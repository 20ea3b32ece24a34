"""The log: loguru as the sink of twisted.logger.

Flow: twisted.logger event -> `LogObserver`, which is there from the first line on and keeps what comes
before there is a sink -> after the fork and once privileges are shed, a sink is attached and gets
everything, in order. In the daemon that is a `LoguruSink`; in a worker a `PipeSink`, whose lines the
supervisor hands to its own observer.

One process owns the log file. If several wrote it, each would rotate it, and lose the lines that the
others still wrote to the file renamed. One writer, fed through pipes, needs no locks, and a worker's
last words arrive even if it is killed: a line is in the pipe when the call returns.

Rejected: loguru's ``enqueue``, whose thread does not survive the fork; ``diagnose``, which prints variables,
secrets among them.
"""

import json
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any, Protocol

from loguru import logger
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from filestored.daemon.settings import LogSettings
from filestored.logs.archive import Archive, Retention
from filestored.logs.lines import Line, line_of

FORMAT = "{time:YYYY-MM-DD HH:mm:ss.SSS} | {level: <8} | {extra[process]} {extra[source]} | {message}"
"""How loguru writes a line for people."""


class Sink(Protocol):
    """Where lines end."""

    def write(self, line: Line) -> None:
        """Write a line. Raises `OSError`."""

    def reopen(self) -> None:
        """Begin the file anew under its name, after somebody has moved it away."""


@implementer(ILogObserver)
class LogObserver:
    """Takes the events of twisted.logger, keeps them until there is a sink, then passes them on.

    Any thread may log, and a signal handler may log in the midst of a line being written: whoever
    finds the sink busy leaves the line to the one who is there.
    """

    def __init__(self) -> None:
        self._waiting: deque[Line] = deque()
        self._busy = threading.Lock()
        self._sink: Sink | None = None

    def __call__(self, event: LogEvent) -> None:
        """Take an event of twisted.logger."""
        self.write(line_of(event))

    def write(self, line: Line) -> None:
        """Take a line that is ready."""
        self._waiting.append(line)
        self._pass_on()

    def attach(self, sink: Sink) -> None:
        """Give all lines to this sink, those that came before it first."""
        self._sink = sink
        self._pass_on()

    def reopen(self) -> None:
        """Let the sink open its file again."""
        if self._sink is not None:
            with self._busy:
                _reopen(self._sink)
            self._pass_on()

    def _pass_on(self) -> None:
        while self._sink is not None and self._waiting and self._busy.acquire(blocking=False):
            try:
                while self._waiting:
                    _write(self._sink, self._waiting.popleft())
            finally:
                self._busy.release()


class LoguruSink:
    """Writes lines through loguru: to `path`, or to stderr where it is None."""

    def __init__(self, settings: LogSettings, path: str | None) -> None:
        self._settings = settings
        self._path = path
        logger.remove()
        self._handler = self._add()

    def write(self, line: Line) -> None:
        """Write a line; its text is no format, so braces in it stay braces."""
        logger.bind(process=line.process, source=line.source).log(line.level, line.text)

    def reopen(self) -> None:
        """Open the file again under its name; the old one is let go when that has worked."""
        old, self._handler = self._handler, self._add()
        with suppress(OSError):  # what a full disk has kept it from writing
            logger.remove(old)

    def _add(self) -> int:
        common: dict[str, Any] = {
            "level": self._settings.level,
            "format": _as_json if self._settings.json else FORMAT,
            "diagnose": False,
            "backtrace": False,
            "catch": False,  # loguru would report to sys.stderr, which twistd has turned into this very log
        }
        if self._path is None:
            return logger.add(sys.__stderr__ or os.devnull, **common)
        return logger.add(
            self._path,
            rotation=self._settings.rotation,
            compression=self._archive(self._path).take if self._settings.rotation else None,
            errors="backslashreplace",
            **common,
        )

    def _archive(self, path: str) -> Archive:
        retention = self._settings.retention
        return Archive(path, Retention.parse(retention) if retention else Retention(), _complain)


class PipeSink:
    """Writes the lines of a worker to the pipe that its supervisor reads."""

    def __init__(self, descriptor: int, level: str) -> None:
        self._descriptor = descriptor
        self._least = logger.level(level).no

    def write(self, line: Line) -> None:
        """Write a line as JSON, if it is of interest."""
        if logger.level(line.level).no >= self._least:
            write_all(self._descriptor, line.to_json())

    def reopen(self) -> None:
        """Nothing to do: a pipe has no name."""


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however little a call takes. Raises `OSError`."""
    while data:
        data = data[os.write(descriptor, data) :]


def _write(sink: Sink, line: Line) -> None:
    """Write a line, or drop it: a log that cannot be written must not stop the service."""
    try:
        sink.write(line)
    except (OSError, ValueError) as error:
        _complain(f"a line of the log is lost ({error}): {line.text}")


def _reopen(sink: Sink) -> None:
    try:
        sink.reopen()
    except OSError as error:
        _complain(f"the log cannot be opened again: {error}")


def _complain(text: str) -> None:
    try:
        os.write(2, f"filestored: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return  # nobody is left to tell


def _as_json(record: Any) -> str:
    """Let loguru write one JSON object a line; what is returned is a format for it."""
    extra = record["extra"]
    extra["json"] = json.dumps(
        {
            "time": record["time"].isoformat(),
            "level": record["level"].name,
            "process": extra["process"],
            "source": extra["source"],
            "message": record["message"],
        }
    )
    return "{extra[json]}\n"
