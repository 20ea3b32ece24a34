"""Names of images: as a user gives them, and as names of files.

A name is any text of 1 to 255 bytes of UTF-8. The last part of a path is the name (RFC 7578 section 4.2).

`escape` returns a file name that is readable with ``ls``: printable characters of any script stay; a leading
dot, a separator and control characters become ``%xx``. Different names stay different. A name that becomes
too long ends in ``%~`` and its hash, which no escape can look like.
"""

import hashlib
import re
import unicodedata

from filestored.errors import InvalidFileName

MAX_NAME_BYTES = 255
"""Bytes of UTF-8 in a name."""

_MAX_ESCAPED_BYTES = 200
_KEPT_BYTES = 100


def base_name(path: str) -> str:
    """Return the last part of a path. Raises `InvalidFileName` when it is empty, too long or no Unicode."""
    name = re.split(r"[/\\]", path)[-1]
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidFileName("The name of the file is not Unicode text.") from None
    if not name:
        raise InvalidFileName("The file has no name.")
    if size > MAX_NAME_BYTES:
        raise InvalidFileName(f"The name of the file is longer than {MAX_NAME_BYTES} bytes.")
    return name


def canonical(name: str) -> str:
    """Return the form in which names are compared: NFC, so that é is one name however it is composed."""
    return unicodedata.normalize("NFC", name)


def escape(name: str) -> str:
    """Return the file name for the image name `name`."""
    safe = "".join(map(_escaped_character, name))
    if safe.startswith("."):
        safe = "%2e" + safe[1:]
    if len(safe.encode("utf-8")) <= _MAX_ESCAPED_BYTES:
        return safe
    kept = safe.encode("utf-8")[:_KEPT_BYTES].decode("utf-8", "ignore")
    return f"{kept}%~{hashlib.sha256(name.encode('utf-8')).hexdigest()}"


def _escaped_character(character: str) -> str:
    if character.isprintable() and character not in "/%":
        return character
    return "".join(f"%{byte:02x}" for byte in character.encode("utf-8"))
