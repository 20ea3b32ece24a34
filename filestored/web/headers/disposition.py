"""`Content-Disposition` for untrusted file names (RFC 6266, RFC 8187).

In: the bytes of ``?name=``, or of the name of an image. Out: the value of the header. An untrusted name must
not end the header, name another directory, or display a false extension. So its path is removed, all control
and formatting characters (also those that reverse the writing direction), and dots and spaces at both ends.
Joiners stay, which emoji and Persian need. A longer name than `MAX_NAME_BYTES` loses the end of its stem and
keeps its extension.

Files are attachments, which a browser saves. Images are inline.
"""

import re
import unicodedata
from urllib.parse import quote

MAX_NAME_BYTES = 255
"""Maximum length of a name in bytes of UTF-8, as of common file systems."""


def content_disposition(name: bytes, kind: str = "attachment") -> bytes:
    """Return the value of the header; `kind` alone if nothing of `name` is left.

    Raises UnicodeDecodeError if `name` is not UTF-8.
    """
    safe = _safe(name.decode("utf-8"))
    if not safe:
        return kind.encode("ascii")
    plain = _UNQUOTABLE.sub("_", safe)
    value = f'{kind}; filename="{plain}"'
    if plain != safe:
        value += f"; filename*=UTF-8''{quote(safe, safe=_ATTRIBUTE_CHARACTERS)}"
    return value.encode("ascii")


def _safe(name: str) -> str:
    last = re.split(r"[/\\]", name)[-1]
    visible = "".join(character for character in last if _is_visible(character)).strip(_EDGES)
    if len(visible.encode("utf-8")) <= MAX_NAME_BYTES:
        return visible
    extension = _EXTENSION.search(visible)
    ending = extension[0] if extension else ""
    return _cut(visible.removesuffix(ending), MAX_NAME_BYTES - len(ending.encode("utf-8"))) + ending


def _cut(text: str, size: int) -> str:
    """Return the first `size` bytes of a longer text, cut before a whole character with its marks.

    A text of marks only is cut between them.
    """
    most = end = len(text.encode("utf-8")[:size].decode("utf-8", "ignore"))
    while end and end < len(text) and (_continues(text[end]) or text[end - 1] == _JOINER):
        end -= 1
    return text[: end or most].rstrip(_EDGES)


def _continues(character: str) -> bool:
    """Return whether a character is displayed as a part of the one before it."""
    is_skin_tone = "\U0001f3fb" <= character <= "\U0001f3ff"
    return character in _JOINERS or is_skin_tone or unicodedata.category(character)[0] == "M"


def _is_visible(character: str) -> bool:
    """Return False for control, format, surrogate, private, unassigned, line and paragraph characters."""
    category = unicodedata.category(character)
    return character in _JOINERS or (category[0] != "C" and category not in {"Zl", "Zp"})


# RFC 6266 appendix D: clients interpret quotes, backslashes and percent signs differently.
_UNQUOTABLE = re.compile(r'[^ -~]|["\\%]')
_NON_JOINER, _JOINER = "\u200c", "\u200d"
_JOINERS = _NON_JOINER + _JOINER
_EXTENSION = re.compile(r"(?:\.tar)?\.\w{1,16}$")
_EDGES = "." + _JOINERS + "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_ATTRIBUTE_CHARACTERS = "!#$&+-.^_`|~"
