"""loguru sink of the daemon: formats lines, writes them, and rotates the file.

Everything here may block; `ThreadedSink` runs it in a thread.

Rejected: loguru's ``enqueue``, whose thread does not survive the fork; ``diagnose``, which prints variables,
secrets among them; ``sys.__stderr__``, whose buffer the interpreter flushes at the end, even if that blocks.
"""

import atexit
import json
import os
import sys
from contextlib import suppress
from typing import Any

from loguru import logger

from filestored.logs.log_line import LogLine
from filestored.logs.observer import UNWRITABLE, report_to_stderr
from filestored.logs.rotation import Retention, RotatedFiles
from filestored.logs.writers import write_all
from filestored.settings import LogSettings

FORMAT = "{time:YYYY-MM-DD HH:mm:ss.SSS} | {level: <8} | {extra[process]} {extra[source]} | {message}"
"""loguru format of a text line."""


class LoguruSink:
    """Writes lines through loguru to `path`, or to stderr if it is None."""

    def __init__(self, settings: LogSettings, path: str | None) -> None:
        self._settings = settings
        self._path = path
        logger.remove()
        atexit.unregister(logger.remove)  # it would wait for a blocked line
        try:
            self._handler = self._add(path)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            report_to_stderr(
                f"the log {path} cannot be opened, stderr takes its place until a reopen: {error.strerror}"
            )
            self._handler = self._add(None)

    def write(self, line: LogLine) -> None:
        """Write a line; braces in its text are not a format."""
        logger.bind(process=line.process, source=line.source).log(line.level, line.text)

    def reopen(self) -> None:
        """Reopen the file by its name; close the old one if that works."""
        old, self._handler = self._handler, self._add(self._path)
        with suppress(OSError):  # data that a full disk refused
            logger.remove(old)

    def finish(self, seconds: float) -> None:
        """Nothing to do: a line is written when `write` returns."""

    def _add(self, path: str | None) -> int:
        common: dict[str, Any] = {
            "level": self._settings.level,
            "format": _as_json if self._settings.json else FORMAT,
            "diagnose": False,
            "backtrace": False,
            "catch": False,  # loguru would report to sys.stderr, which twistd redirects to this log
        }
        if path is None:
            return logger.add(_write_stderr if sys.__stderr__ else os.devnull, **common)
        return logger.add(
            path,
            rotation=self._settings.rotation,
            compression=self._rotated_files(path).on_rotated if self._settings.rotation else None,
            errors="backslashreplace",
            **common,
        )

    def _rotated_files(self, path: str) -> RotatedFiles:
        retention = self._settings.retention
        return RotatedFiles(path, Retention.parse(retention) if retention else Retention(), report_to_stderr)


def _write_stderr(text: str) -> None:
    write_all(2, text.encode("utf-8", "backslashreplace"))


def _as_json(record: Any) -> str:
    """Return a loguru format that writes one JSON object per line."""
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
