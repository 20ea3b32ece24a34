"""Access log: one line per request in the combined format of Apache and nginx, written in batches.

Two fields follow those of that format: the duration in seconds, from the end of the request head to the end
of the response, and the id of the request.

A line is in printable ASCII: `format_prefix`, which is equal for all requests of a client within a second,
`format_entry`, which is equal for equal requests and responses, and `format_end`. The entry is the expensive
part: it redacts tokens and escapes characters that could forge a field or a line. Callers cache it beside
cached responses.

Lines wait up to `FLUSH_DELAY_SECONDS` or `MAX_BATCH_CHARACTERS`, then a thread writes them. Each worker
appends whole batches to the same file (O_APPEND), so lines of several processes do not mix. A stalled disk or
an unread FIFO loses lines, and delays no request. Waiting lines are plain strings, which the garbage
collector does not traverse.
"""

import time
from functools import lru_cache
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from filestored.bounded_cache import BoundedCache
from filestored.interfaces import AccessEntry, IAccessLog
from filestored.logs.redaction import redact, redact_id
from filestored.logs.writers import Writer

FLUSH_DELAY_SECONDS = 1.0
"""Maximum time that a line waits for a batch."""

MAX_BATCH_CHARACTERS = 64 * 1024
"""Batch size at which lines are written at once."""

MAX_CACHED_BYTES = 512
"""Maximum length of a text in the redaction cache."""

MAX_CACHED_TEXTS = 1024
"""Maximum number of texts in the redaction cache; the oldest is evicted."""

# strftime would ask the locale
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_ESCAPES = {
    code: f"\\x{code:02X}" for code in range(256) if not 0x20 <= code < 0x7F or chr(code) in ('"', "\\")
}
_redaction_cache = BoundedCache[bytes, str](MAX_CACHED_TEXTS)
"""Redaction cache: recurring texts of clients, and their escaped form; none that was redacted."""


@implementer(IAccessLog)
class AccessLog:
    """Collects lines and passes them to a writer in batches."""

    def __init__(self, clock: Any, writer: Writer) -> None:
        self._clock = clock
        self._writer = writer
        self._lines: list[str] = []
        self._size = 0
        self._second = 0
        self._prefixes: dict[str, str] = {}  # of this second only, by peer
        self._due: IDelayedCall | None = None

    def format_entry(self, entry: AccessEntry) -> str:
        """See `IAccessLog.format_entry`."""
        return format_entry(entry)

    def log(self, moment: float, peer: str, description: str, seconds: float, request_id: bytes) -> None:
        """See `IAccessLog.log`."""
        second = int(moment)
        if second != self._second:
            self._second, self._prefixes = second, {}
        prefix = self._prefixes.get(peer) or self._new_prefix(peer)
        shown_id = request_id.decode()
        if not shown_id.isalnum():
            shown_id = redact_id(request_id)
        line = f"{prefix}{description} {seconds:.6f} {shown_id}"
        self._lines.append(line)
        self._size += len(line)
        if self._size >= MAX_BATCH_CHARACTERS:
            self._write()  # the delayed call then writes the rest
        elif self._due is None:
            self._due = self._clock.callLater(FLUSH_DELAY_SECONDS, self.flush)

    def flush(self) -> None:
        """Write the waiting lines."""
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None
        self._write()

    def reopen(self) -> None:
        """Write the waiting lines, then reopen the file."""
        self.flush()
        self._writer.reopen()

    def close(self) -> None:
        """Write the waiting lines and close the file."""
        self.flush()
        self._writer.close()

    def _new_prefix(self, peer: str) -> str:
        prefix = self._prefixes[peer] = format_prefix(peer, self._second)
        return prefix

    def _write(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            self._writer.write(lines)


def format_entry(entry: AccessEntry) -> str:
    """Return the part of a line about request and response."""
    request = b" ".join((entry.method, entry.target, entry.version))
    return f'"{shown(request)}" {entry.status} {entry.sent} "{_url(entry.referer)}" "{_field(entry.agent)}"'


def format_prefix(peer: str, second: int) -> str:
    """Return the part of a line about client and time; `second` since the epoch."""
    host = _quoted(peer.encode("utf-8", "replace")).replace(" ", "_")
    return f"{host or '-'} - - [{_date(second)}] "


@lru_cache(maxsize=8)
def _date(second: int) -> str:
    when = time.gmtime(second)
    return time.strftime(f"%d/{_MONTHS[when.tm_mon - 1]}/%Y:%H:%M:%S +0000", when)


def _url(value: bytes | None) -> str:
    """Format a URL; blanks are encoded, because `redact` ends at a blank."""
    return _field(value.replace(b" ", b"%20") if value else None)


def _field(value: bytes | None) -> str:
    return shown(value) if value else "-"


def format_end(seconds: float, request_id: bytes) -> str:
    """Return the part of a line about duration and id."""
    return f" {seconds:.6f} {redact_id(request_id)}"


def shown(value: bytes) -> str:
    """Return text of a client, redacted and escaped."""
    known = _redaction_cache.get(value)
    if known is not None:
        return known
    quoted = _quoted(value)
    shown = redact(quoted)
    if shown == quoted and len(value) <= MAX_CACHED_BYTES:
        _redaction_cache.add(value, shown)
    return shown


def _quoted(value: bytes) -> str:
    return value.decode("latin-1").translate(_ESCAPES)
