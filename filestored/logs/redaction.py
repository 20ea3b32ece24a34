"""Redaction of secrets in logged text. Pure.

Redacted are tokens (``fst_...``), signatures of links, values of Authorization fields, and the tokens in URLs
of the image API.

Below ``/imageapi`` each segment of a URL is replaced by `MASK`, unless it is a word of the API, or a user
name in its place. The same holds after a segment ``token``. So tokens in wrong URLs are redacted as well:
after a doubled slash, a misspelt word, in the query, or in place of a user name.

Each letter of a path may be percent-encoded, also repeatedly. All of it takes linear time.
"""

import re

MASK = "***"
"""Replacement of a secret."""

WORDS = frozenset([
    "token", "generate-token", "retrieve-token", "regenerate-token",
    "upload-image", "get-image", "get-image-list", "update-image", "delete-image", "width", "height",
])  # fmt: skip
"""Segments and query names of the image API that are not redacted."""

_BEFORE_USERNAME = ("generate-token", "retrieve-token")
_BEFORE_NUMBER = ("width", "height")


def redact(text: str) -> str:
    """Return `text` with all secrets replaced by `MASK`. Idempotent."""
    if _BEGIN.search(text):
        text = _WORD.sub(_redact_word, text)
    text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
    return _SIGNATURE.sub(rf"\1{MASK}", _TOKEN.sub(MASK, text))


def redact_id(request_id: bytes) -> str:
    """Return the id of a request as text, redacted; letters and digits alone have the form of no secret."""
    text = request_id.decode()
    return text if text.isalnum() else redact(text)


def _redact_word(word: re.Match[str]) -> str:
    """Redact a word, which may contain a URL."""
    text = word[0]
    begin = _BEGIN.search(text)
    if begin is None:
        return text
    end = len(text.rstrip(_AROUND))
    return text[: begin.end()] + _redact_segments(text[begin.end() : end]) + text[max(begin.end(), end) :]


def _redact_segments(path: str) -> str:
    """Redact all segments after ``/imageapi`` or ``/token`` that are not allowed."""
    shown = []
    previous = ""
    for segment in _DELIMITER.split(path):
        if not segment or segment in _DELIMITERS:
            shown.append(segment)
            continue
        shown.append(segment if _is_allowed(segment, previous) else MASK)
        previous = segment
    return "".join(shown)


def _is_allowed(segment: str, previous: str) -> bool:
    if previous in _BEFORE_USERNAME:
        return _USERNAME.fullmatch(segment) is not None
    if previous in _BEFORE_NUMBER:
        return _NUMBER.fullmatch(segment) is not None
    return segment in WORDS or segment == MASK


def _encodable(word: str) -> str:
    """Return a pattern for a word, each letter of which may be percent-encoded, once or more."""
    return "".join(
        rf"(?:{letter}|%(?:25)*{ord(letter):02x}|%(?:25)*{ord(letter.upper()):02x})" for letter in word
    )


_DELIMITERS = "/?#;&="
_DELIMITER = re.compile(rf"([{_DELIMITERS}])")
_AROUND = "\"'`,.:)]}>"
"""Punctuation around a URL."""

_WORD = re.compile(r"[^ \t\r\n]+")
_BEGIN = re.compile(rf"{_encodable('imageapi')}|{_encodable('/token')}(?=[{_DELIMITERS}%\\])", re.IGNORECASE)

# As `filestored.images.accounts.USERNAME`, but not of the length of a token.
_USERNAME = re.compile(r"(?![A-Za-z0-9_]{10}\Z)[A-Za-z0-9_]{1,64}")
_NUMBER = re.compile("[0-9]{1,9}", re.ASCII)
_TOKEN = re.compile(rf"{_encodable('fst')}(?:_|%(?:25)*5f)[\w%-]+", re.IGNORECASE | re.ASCII)
_SIGNATURE = re.compile(rf"({_encodable('signature')}(?:=|%(?:25)*3d))[^&#\s\"']+", re.IGNORECASE)
_AUTHORIZATION = re.compile(r"(authorization\b[^\w\n]{0,8})\w[^\n]*", re.IGNORECASE)
