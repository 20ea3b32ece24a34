"""Combined log format of Apache and nginx, in printable ASCII. Pure, with a cache.

A line is `format_prefix`, which is equal for all requests of a client within a second, followed by
`format_entry`, which is equal for equal requests and responses. `format_entry` is the expensive part: it
redacts tokens and escapes characters that could forge a field or a line. Callers cache it beside cached
responses.
"""

import time
from functools import lru_cache

from filestored.bounded_cache import BoundedCache
from filestored.interfaces import AccessEntry
from filestored.logs.redaction import redact

MAX_CACHED_BYTES = 512
"""Maximum length of a text in the redaction cache."""

MAX_CACHED_TEXTS = 1024
"""Maximum number of texts in the redaction cache; the oldest is evicted."""


def format_entry(entry: AccessEntry) -> str:
    """Return the part of a line about request and response."""
    request = b" ".join((entry.method, entry.target, entry.version))
    return f'"{_shown(request)}" {entry.status} {entry.sent} "{_url(entry.referer)}" "{_field(entry.agent)}"'


def format_prefix(peer: str, second: int) -> str:
    """Return the part of a line about client and time; `second` since the epoch."""
    host = _quoted(peer.encode("utf-8", "replace")).replace(" ", "_")
    return f"{host or '-'} - - [{_date(second)}] "


_redaction_cache = BoundedCache[bytes, str](MAX_CACHED_TEXTS)
"""Redaction cache: recurring texts of clients, and their escaped form; none that was redacted."""


@lru_cache(maxsize=8)
def _date(second: int) -> str:
    when = time.gmtime(second)
    return time.strftime(f"%d/{_MONTHS[when.tm_mon - 1]}/%Y:%H:%M:%S +0000", when)


def _url(value: bytes | None) -> str:
    """Format a URL; blanks are encoded, because `redact` ends at a blank."""
    return _field(value.replace(b" ", b"%20") if value else None)


def _field(value: bytes | None) -> str:
    return _shown(value) if value else "-"


def _shown(value: bytes) -> str:
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


# strftime would ask the locale
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_ESCAPES = {
    code: f"\\x{code:02X}" for code in range(256) if not 0x20 <= code < 0x7F or chr(code) in ('"', "\\")
}
