"""Names of images: as a user gives them, and as names of files.

A name is any text of 1 to 255 bytes of UTF-8. Of a path that somebody's browser sends, the last part is
the name (RFC 7578 section 4.2).

`escape` makes a file name of it that a person still reads with ``ls``: printable characters of any
script stay; what would hide a file, leave the directory or steer a terminal becomes ``%xx``.
Different names stay different. A name that gets too long this way ends in ``%~`` and its hash,
which no escape can look like.
"""

import hashlib
import re

from filestored.errors import InvalidFileName

LONGEST = 255
"""Bytes of UTF-8 in a name."""

_LONGEST_ESCAPED = 200
_KEPT = 100


def base_name(path: str) -> str:
    """The name at the end of a path. Raises `InvalidFileName` when there is none, or a bad one."""
    name = re.split(r"[/\\]", path)[-1]
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidFileName("The name of the file is not Unicode text.") from None
    if not name:
        raise InvalidFileName("The file has no name.")
    if size > LONGEST:
        raise InvalidFileName(f"The name of the file is longer than {LONGEST} bytes.")
    return name


def escape(name: str) -> str:
    """The name of the file that stands for `name`."""
    safe = "".join(map(_escaped_character, name))
    if safe.startswith("."):
        safe = "%2e" + safe[1:]
    if len(safe.encode("utf-8")) <= _LONGEST_ESCAPED:
        return safe
    kept = safe.encode("utf-8")[:_KEPT].decode("utf-8", "ignore")
    return f"{kept}%~{hashlib.sha256(name.encode('utf-8')).hexdigest()}"


def _escaped_character(character: str) -> str:
    if character.isprintable() and character not in "/%":
        return character
    return "".join(f"%{byte:02x}" for byte in character.encode("utf-8"))
