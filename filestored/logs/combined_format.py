"""One line of the access log, in the combined format of Apache and nginx, in printable ASCII.

Flow: `AccessEntry` -> `format_entry`, with tokens masked and with nothing in it that could pass for another
field or line; `format_prefix`, which says who asked and when -> the line is both, one behind the other. The
description is the dear half and the same for all who ask the same: the wire keeps it beside the answers that
it gives again. The opening is the same for all that one client asks within a second.

Pure functions; what is done with a line is the business of ``access``.
"""

import time
from functools import lru_cache

from filestored.interfaces import AccessEntry
from filestored.logs.redaction import redact

MAX_CACHED_BYTES = 512
"""Bytes of the longest text of a client that is kept with what is written of it: most come again."""

MAX_CACHED_TEXTS = 1024
"""How many of them are kept; the one that came first goes first."""


def format_entry(entry: AccessEntry) -> str:
    """What a line says of a request and its answer: all but who asked and when."""
    request = b" ".join((entry.method, entry.target, entry.version))
    return f'"{_shown(request)}" {entry.status} {entry.sent} "{_url(entry.referer)}" "{_field(entry.agent)}"'


def format_prefix(peer: str, second: int) -> str:
    """How a line begins that is about somebody at `peer`, in that second since the epoch."""
    host = _quoted(peer.encode("utf-8", "replace")).replace(" ", "_")
    return f"{host or '-'} - - [{_date(second)}] "


_redaction_cache: dict[bytes, str] = {}
"""Texts of clients that come again and again, and what is written of them; none that had to be masked."""


@lru_cache(maxsize=8)
def _date(second: int) -> str:
    when = time.gmtime(second)
    return time.strftime(f"%d/{_MONTHS[when.tm_mon - 1]}/%Y:%H:%M:%S +0000", when)


def _url(value: bytes | None) -> str:
    """Show a URL, whose blanks would hide from `redact` where it ends."""
    return _field(value.replace(b" ", b"%20") if value else None)


def _field(value: bytes | None) -> str:
    return _shown(value) if value else "-"


def _shown(value: bytes) -> str:
    """What a client sent, without secrets and with nothing in it that could pass for another field."""
    known = _redaction_cache.get(value)
    if known is not None:
        return known
    quoted = _quoted(value)
    shown = redact(quoted)
    if shown == quoted and len(value) <= MAX_CACHED_BYTES:
        _cache(value, shown)
    return shown


def _cache(value: bytes, shown: str) -> None:
    _redaction_cache[value] = shown
    if len(_redaction_cache) > MAX_CACHED_TEXTS:
        del _redaction_cache[next(iter(_redaction_cache))]


def _quoted(value: bytes) -> str:
    return value.decode("latin-1").translate(_ESCAPES)


# strftime would ask the locale
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_ESCAPES = {
    code: f"\\x{code:02X}" for code in range(256) if not 0x20 <= code < 0x7F or chr(code) in ('"', "\\")
}
