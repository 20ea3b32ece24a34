"""Changes of the text of an access file: add a token, remove one. Comments stay. Pure.

The old and the new text are parsed, so a change is right, or is an `AccessFileError` in one line. A new token
is appended: it needs no place among tables that are in any order.
"""

import tomllib
from collections.abc import Mapping, Set
from datetime import date
from itertools import takewhile

import tomlkit
from tomlkit.exceptions import TOMLKitError

from filestored.access.rules import OTHER_BUCKETS, AccessRules, Right, ordered
from filestored.errors import AccessFileError


def with_token(
    text: str, name: str, sha256: bytes, buckets: Mapping[str, Set[Right]], expires: date | None
) -> str:
    """Return the text with a token, and with an empty table for each of its buckets that has none."""
    if name in AccessRules.parse(text).tokens:
        raise AccessFileError(f"there is a token {name} already; choose another name, or revoke it")
    lifetime = {} if expires is None else {"expires": expires}
    rights = {bucket: ordered(found) for bucket, found in buckets.items()}
    tables: dict[str, object] = {"tokens": {name: {"sha256": sha256.hex(), **lifetime, "buckets": rights}}}
    declared = tomllib.loads(text).get("buckets", {})
    if missing := [bucket for bucket in buckets if bucket not in {OTHER_BUCKETS, *declared}]:
        tables["buckets"] = {bucket: {} for bucket in missing}
    longer = "\n\n".join(filter(None, (text.rstrip("\n"), tomlkit.dumps(tables))))
    try:
        AccessRules.parse(longer)
    except AccessFileError as error:
        raise AccessFileError(f"this command would break it: {error}") from None
    return longer


def without_token(text: str, name: str) -> str:
    """Return the text without a token."""
    tokens = dict(AccessRules.parse(text).tokens)
    if tokens.pop(name, None) is None:
        raise AccessFileError(f"there is no token {name}")
    try:
        shorter = _without(text, name)
    except TOMLKitError:
        shorter = text
    if AccessRules.parse(shorter).tokens != tokens:
        raise AccessFileError(f"this command cannot remove tokens.{name}; remove it by hand")
    return shorter


def _without(text: str, name: str) -> str:
    """Return the text without the lines of a token.

    tomlkit counts the comments behind a table as a part of it. They describe the next table, so they stay.
    """
    document = tomlkit.parse(text.rstrip("\n") + "\n")
    lines = document.as_string().split("\n")
    del document["tokens"][name]
    left = document.as_string().split("\n")
    kept: list[str] = []
    removed: list[str] = []
    matched = 0
    for line in lines:
        if [line] == left[matched : matched + 1]:
            kept += [*_last_comments(removed), line]
            removed = []
            matched += 1
        else:
            removed.append(line)
    kept += _last_comments(removed)
    return "\n".join(kept if matched == len(left) else left)


def _last_comments(lines: list[str]) -> list[str]:
    """Return the comments and blank lines at the end of some lines."""
    return list(takewhile(_is_comment, reversed(lines)))[::-1]


def _is_comment(line: str) -> bool:
    """Return whether a line is a comment, or blank."""
    return line.strip()[:1] in ("", "#")
