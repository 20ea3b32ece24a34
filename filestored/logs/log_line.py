"""Log lines: from an event of twisted.logger to text that is safe to store. Pure.

Secrets are redacted; control characters, which could forge a line or control a terminal, are escaped. A
worker sends its lines to the supervisor as JSON (`LogLine.to_json`).
"""

import json
import os
import re
from dataclasses import asdict, dataclass

from twisted.logger import LogEvent, eventAsText

from filestored.logs.redaction import redact, redact_id
from filestored.request_context import current_request_id

LEVELS = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR", "critical": "CRITICAL"}
"""Level names of loguru by those of Twisted."""

_TWISTED = ("twisted.", "log_legacy")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One entry of the log: level, source (logger namespace), process id, text, and fields for JSON.

    `request_id` is that of the request which caused it, or empty.
    """

    level: str
    source: str
    process: int
    text: str
    fields: dict[str, object] | None = None
    request_id: str = ""

    def to_json(self) -> bytes:
        """Return this line as JSON with a line feed."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"


def from_event(event: LogEvent) -> LogLine:
    """Return the line of an event, with its traceback; ``json_fields`` of the event are safe already.

    The request is that whose id the event has as ``request_id``, otherwise that of the context.
    Lines of Twisted about its own start, stop and ports are of level DEBUG; its errors are not changed.
    """
    level = event.get("log_level")
    name = LEVELS.get(level.name, "INFO") if level is not None else "INFO"
    source = str(event.get("log_namespace", "-"))
    return LogLine(
        level="DEBUG" if name == "INFO" and source.startswith(_TWISTED) else name,
        source=source,
        process=os.getpid(),
        text=sanitize(eventAsText(event, includeTimestamp=False, includeSystem=False)),
        fields=event.get("json_fields"),
        request_id=redact_id(event.get("request_id", current_request_id.get())),
    )


def sanitize(text: str) -> str:
    """Return a text with secrets redacted, control characters escaped, and further lines indented."""
    masked = redact(text).rstrip("\n")
    return _CONTROL.sub(_escape_control, masked).replace("\n", "\n    ")


def _escape_control(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"


_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
