"""One line of the log: from an event of twisted.logger to text that is safe to keep.

Flow: event -> `from_event` -> `LogLine`, with secrets masked and with nothing in it that could pass for
another line or steer a terminal. A worker writes its lines to its supervisor with `to_json`.

Pure functions; what is done with a line is the business of ``logs``.
"""

import json
import os
import re
from dataclasses import asdict, dataclass

from twisted.logger import LogEvent, eventAsText

from filestored.logs.redaction import redact

LEVELS = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR", "critical": "CRITICAL"}
"""The names of loguru's levels by those of Twisted."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One entry of the log: its level, where it came from, the process, and its text."""

    level: str
    source: str
    process: int
    text: str

    def to_json(self) -> bytes:
        """This line for another process, with a line feed at its end."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"


def from_event(event: LogEvent) -> LogLine:
    """The line for an event, traceback included."""
    level = event.get("log_level")
    return LogLine(
        level=LEVELS.get(level.name, "INFO") if level is not None else "INFO",
        source=str(event.get("log_namespace", "-")),
        process=os.getpid(),
        text=sanitize(eventAsText(event, includeTimestamp=False, includeSystem=False)),
    )


def sanitize(text: str) -> str:
    """A text with its secrets masked, its control characters written out, its further lines indented."""
    masked = redact(text).rstrip("\n")
    return _CONTROL.sub(_escape_control, masked).replace("\n", "\n    ")


def _escape_control(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"


_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
