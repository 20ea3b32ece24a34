"""The access log: one line for each answered request, in the combined format, written in batches.

Flow: the wire records an `AccessEntry`, which only queues it; a second later, or when a thousand wait,
all are formatted and written in one go. Each worker appends whole batches to the same file
(O_APPEND), so lines of several processes never mix.

What a client sends is written so that it cannot look like another field or line, and tokens are masked.
"""

import os
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from filestored.interfaces import AccessEntry, IAccessLog
from filestored.logs.lines import mask
from filestored.logs.pipe import write_all

DELAY = 1.0
"""Seconds that an entry waits for others to be written with it."""

BATCH = 1000
"""Entries that are written at once without waiting any longer."""


REMEMBERED = 512
"""Bytes of the longest text of a client that is kept with what is written of it: most come again."""


class Writer(Protocol):
    """Where formatted lines go."""

    def write(self, lines: Sequence[str]) -> None:
        """Write lines, which have no line feeds. Does not raise."""

    def reopen(self) -> None:
        """Begin the file anew under its name."""

    def close(self) -> None:
        """Let go of the file."""


@implementer(IAccessLog)
class AccessLog:
    """Collects entries and hands them to a writer in batches."""

    def __init__(self, clock: Any, writer: Writer) -> None:
        self._clock = clock
        self._writer = writer
        self._entries: list[AccessEntry] = []
        self._due: IDelayedCall | None = None

    def record(self, entry: AccessEntry) -> None:
        """Note one request."""
        self._entries.append(entry)
        if len(self._entries) >= BATCH:
            self.flush()
        elif self._due is None:
            self._due = self._clock.callLater(DELAY, self.flush)

    def flush(self) -> None:
        """Write what has been collected."""
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None
        entries, self._entries = self._entries, []
        if entries:
            self._writer.write([combined(entry) for entry in entries])

    def reopen(self) -> None:
        """Write what belongs to the old file, then begin anew."""
        self.flush()
        self._writer.reopen()

    def close(self) -> None:
        """Write the rest and let go."""
        self.flush()
        self._writer.close()


class FileWriter:
    """Appends lines to a file."""

    _log = Logger()

    def __init__(self, path: str) -> None:
        self._path = path
        self._failed = False
        self._descriptor = self._open()

    def write(self, lines: Sequence[str]) -> None:
        """Append the lines; when that fails they are lost, and the log says so once."""
        try:
            write_all(self._descriptor, "".join(f"{line}\n" for line in lines).encode("ascii"))
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._log.error("the access log cannot be written: {reason}", reason=error.strerror)
            self._failed = True

    def reopen(self) -> None:
        """Open the file again under its name; keeps the old one when that is impossible."""
        try:
            descriptor = self._open()
        except OSError as error:
            self._log.error("the access log cannot be opened again: {reason}", reason=error.strerror)
            return
        os.close(self._descriptor)
        self._descriptor = descriptor

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


class LogWriter:
    """Puts each line into the log, under the name ``access``."""

    def __init__(self) -> None:
        self._log = Logger(namespace="access")

    def write(self, lines: Sequence[str]) -> None:
        """Log each line."""
        for line in lines:
            self._log.info("{line}", line=line)

    def reopen(self) -> None:
        """Nothing to do: the log reopens itself."""

    def close(self) -> None:
        """Nothing to do: the log stays."""


def open_access_log(clock: Any, path: str) -> AccessLog | None:
    """The access log at `path`, ``-`` for the log itself; None where it is off. Raises `OSError`."""
    if not path:
        return None
    return AccessLog(clock, LogWriter() if path == "-" else FileWriter(path))


def combined(entry: AccessEntry) -> str:
    """An entry in the combined format of Apache and nginx, in printable ASCII."""
    request = b" ".join((entry.method, entry.target, entry.version))
    return (
        f"{_host(entry.peer)} - - [{_date(int(entry.moment))}] "
        f'"{_shown(request)}" {entry.status} {entry.sent} '
        f'"{_field(entry.referer)}" "{_field(entry.agent)}"'
    )


@lru_cache(maxsize=1024)
def _host(peer: str) -> str:
    return _quoted(peer.encode("utf-8", "replace")).replace(" ", "_") or "-"


def _field(value: bytes | None) -> str:
    return _shown(value) if value else "-"


def _shown(value: bytes) -> str:
    """What a client sent, without secrets and with nothing in it that could pass for another field."""
    return _recalled(value) if len(value) <= REMEMBERED else mask(_quoted(value))


@lru_cache(maxsize=4096)
def _recalled(value: bytes) -> str:
    return mask(_quoted(value))


def _quoted(value: bytes) -> str:
    return value.decode("latin-1").translate(_ESCAPES)


@lru_cache(maxsize=8)
def _date(second: int) -> str:
    when = time.gmtime(second)
    return time.strftime(f"%d/{_MONTHS[when.tm_mon - 1]}/%Y:%H:%M:%S +0000", when)


_MONTHS = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]  # strftime asks the locale
_ESCAPES = {
    code: f"\\x{code:02X}" for code in range(256) if not 0x20 <= code < 0x7F or chr(code) in ('"', "\\")
}
