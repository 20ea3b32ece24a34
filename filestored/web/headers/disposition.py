"""`Content-Disposition` for a name that somebody else has chosen (RFC 6266, RFC 8187).

In: the bytes of ``?name=``, or of an image's name. Out: the field's value. The name is a
stranger's: it must not end the field, escape the directory of the one who saves it, or show another
ending than it has. So it loses its path, all control and formatting characters (the ones that
reverse the writing direction among them), and the dots and spaces at its ends; what remains is
cut to `MOST_BYTES`.

A file is always an attachment: a browser saves these bytes, it doesn't show them. An image may be shown.
"""

import re
import unicodedata
from urllib.parse import quote

MOST_BYTES = 255
"""The longest name in bytes of UTF-8: what file systems take."""


def content_disposition(name: bytes, kind: str = "attachment") -> bytes:
    """The field's value; its `kind` alone when nothing of `name` is left.

    Raises ValueError when `name` is not UTF-8.
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
    visible = "".join(character for character in last if _is_visible(character))
    short = visible.strip(_EDGES).encode("utf-8")[:MOST_BYTES]
    return short.decode("utf-8", "ignore").rstrip(_EDGES)


def _is_visible(character: str) -> bool:
    """Not of the categories control, format, surrogate, private or unassigned, line, paragraph."""
    category = unicodedata.category(character)
    return category[0] != "C" and category not in {"Zl", "Zp"}


# RFC 6266 appendix D: quotes, backslashes and percent signs are read in too many ways.
_UNQUOTABLE = re.compile(r'[^ -~]|["\\%]')
_EDGES = "." + "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_ATTRIBUTE_CHARACTERS = "!#$&+-.^_`|~"
