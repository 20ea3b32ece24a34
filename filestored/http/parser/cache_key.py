"""Key of the response cache: a request head without the header lines that cannot change its response.

In: the bytes of exactly one head. Out: the same bytes without the header lines whose names are not in
`RELEVANT_FIELDS`; and a single byte range apart from them. Two heads with one key have one response, and one
entry in the access log, but for the id of the request (`request_id`).

Only well-formed lines are removed: a token, a colon, and a value without control characters (RFC 9110
sections 5.1 and 5.5). Any other line stays in the key, which equals that of no accepted head then. So a head
needs no further check if its key is that of a head that was parsed and accepted.

Rejected: removing a list of known names only. A proxy adds names that no list has.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

RELEVANT_FIELDS = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "origin",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "referer",
        "sec-fetch-site",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
"""Names of the headers that can change a response, the connection, or the entry in the access log."""

_END = b"\r\n\r\n"


class HeaderKey(NamedTuple):
    """The relevant lines of a header block, and the half-open span of bytes of a single range."""

    lines: bytes
    span: tuple[int, int] | None


def header_key(block: bytes, max_fields: int) -> HeaderKey | None:
    """Return the key of a header block: from the end of the request line to the final empty line.

    None if the block has no end, something follows it, or it has more than `max_fields` lines.
    """
    lines = _IRRELEVANT_LINE.sub(b"", block)
    is_whole = lines.endswith(_END) and lines.find(_END, 0, -1) < 0
    if not is_whole or block.count(b"\r\n") - 2 > max_fields:
        return None
    found = _RANGE_LINE.search(lines) if b"ange:" in lines else None
    if found is None:
        return HeaderKey(lines, None)
    others = lines[: found.start()] + lines[found.end() :]
    if _SELECTION.search(others):
        return HeaderKey(lines, None)
    return HeaderKey(others, (int(found[1]), int(found[2]) + 1))


def _any_of(names: Iterable[str]) -> str:
    """Return a pattern for these lower-case names in any case: a trie, so that most names fail early."""
    branches: dict[str, list[str]] = {}
    for name in sorted(names):
        branches.setdefault(name[:1], []).append(name[1:])
    if list(branches) == [""]:
        return ""
    patterns = [_letter(first) + _any_of(rest) if first else "" for first, rest in branches.items()]
    return patterns[0] if len(patterns) == 1 else f"(?:{'|'.join(reversed(patterns))})"


def _letter(letter: str) -> str:
    return f"[{letter.upper()}{letter}]" if letter.isalpha() else re.escape(letter)


_VALUE = r"[\t\x20-\x7e\x80-\xff]*+"
_IRRELEVANT_LINE = re.compile(
    rf"\r\n(?<!\n\r\n)(?!{_any_of(name + ':' for name in RELEVANT_FIELDS)})"
    rf"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:{_VALUE}(?=\r\n)".encode()
)
_SELECTION = re.compile(rb"\r\n(?:if-|range:)", re.IGNORECASE)
"""A condition, or another range: several lines are one list."""

_RANGE_LINE = re.compile(rb"\r\n[Rr]ange:[\t ]*bytes=([0-9]{1,18})-([0-9]{1,18})[\t ]*(?=\r\n)")
