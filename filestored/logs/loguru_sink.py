"""loguru sink of the daemon: formats lines, and writes them to a `LogFile` or stderr.

Everything here may block; `ThreadedSink` runs it in a thread.

Rejected: loguru's ``enqueue``, whose thread does not survive the fork; ``diagnose``, which prints variables,
secrets among them; ``sys.__stderr__``, whose buffer the interpreter flushes at the end, even if that blocks.
"""

import atexit
import json
import os
import sys
from typing import Any

from loguru import logger

from filestored.logs.journal import JOURNAL_PREFIXES, is_journal, prefix_lines
from filestored.logs.log_file import LogFile, write_all
from filestored.logs.log_line import LogLine
from filestored.logs.observer import UNWRITABLE, report_to_stderr
from filestored.settings import LogSettings

FORMAT = "{time:YYYY-MM-DD HH:mm:ss.SSS} | {level: <8} | {extra[process]} {extra[source]} | {extra[text]}"
"""loguru format of a text line."""


class LoguruSink:
    """Writes lines through loguru to `path`, or to stderr if it is None."""

    def __init__(self, settings: LogSettings, path: str | None) -> None:
        self._reports: list[str] = []
        self._file = LogFile(path, 0o666, settings, self._reports.append) if path is not None else None
        self._prefixes = JOURNAL_PREFIXES if is_journal(2, os.environ) else {}
        logger.remove()
        atexit.unregister(logger.remove)  # it would wait for a blocked line
        if self._file is not None:
            self._open(self._file)
        logger.add(
            self._write,
            level=settings.level,
            format=_as_json if settings.json else FORMAT,
            diagnose=False,
            backtrace=False,
            catch=False,  # loguru would report to sys.stderr, which twistd redirects to this log
        )

    def write(self, line: LogLine) -> None:
        """Write a line; braces in its text are not a format."""
        _log(line)
        while self._reports:  # loguru refuses a line while it writes another one
            _log(LogLine("ERROR", "filestored.logs", os.getpid(), f"the log: {self._reports.pop(0)}"))

    def reopen(self) -> None:
        """Reopen the file by its name. Raises `OSError`; the old one stays open then."""
        if self._file is not None:
            self._file.open()

    def finish(self, seconds: float) -> None:
        """Nothing to do: a line is written when `write` returns."""

    def _open(self, file: LogFile) -> None:
        try:
            file.open()
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            report_to_stderr(
                f"the log cannot be opened, stderr takes its place until a reopen: {error.strerror}"
            )

    def _write(self, message: Any) -> None:
        if self._file is not None and self._file.is_open:
            self._file.write(message.encode("utf-8", "backslashreplace"))
        elif sys.__stderr__:  # else it is closed, and descriptor 2 may be another file
            prefix = self._prefixes.get(message.record["level"].name, "")
            text = prefix_lines(message.removesuffix("\n"), prefix)
            write_all(2, f"{text}\n".encode("utf-8", "backslashreplace"))


def _log(line: LogLine) -> None:
    logger.bind(
        process=line.process,
        source=line.source,
        fields=line.fields or {},
        request_id=line.request_id,
        text=f"[{line.request_id}] {line.text}" if line.request_id else line.text,
    ).log(line.level, line.text)


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
            **extra["fields"],
            **({"request_id": extra["request_id"]} if extra["request_id"] else {}),
        }
    )
    return "{extra[json]}\n"
