"""Parameters of a header value, such as `Content-Type` and `Content-Disposition` (RFC 9110 section 5.6.6).

More lenient than the RFC: a value without quotes may hold any character except a semicolon, and a backslash
in quotes escapes nothing if the value would not end otherwise. Browsers write a backslash in a name so.
"""

import re

_END = r"(?=[ \t]*+(?:;|\Z))"
# Possessive quantifiers: linear time.
_PARAMETER = re.compile(
    r';[ \t]*+(?:([^\s=;"]++)[ \t]*+=[ \t]*+'
    rf'("(?:[^"\\]|\\.)*+"{_END}|"[^"]*+"{_END}|[^;]*+))?+[ \t]*+',
    re.DOTALL,
)


def parse_parameters(text: str) -> tuple[str, dict[str, str]]:
    """Return the value in lower case, and its parameters: lower-case names, values with their quotes.

    Raises `ValueError` for a syntax error, and for two parameters with one name: readers would disagree.
    """
    position = text.find(";")
    if position < 0:
        return text.strip(" \t").lower(), {}
    value, parameters = text[:position].strip(" \t").lower(), {}
    while position < len(text):
        found = _PARAMETER.match(text, position)
        if found is None:
            raise ValueError("a parameter has no equals sign")
        position = found.end()
        if found[1] is not None:
            name = found[1].lower()
            if name in parameters:
                raise ValueError("a parameter comes twice")
            parameters[name] = found[2].strip(" \t")
    return value, parameters


def is_quoted(value: str) -> bool:
    """Return whether the value of a parameter has quotes."""
    return len(value) > 1 and value[0] == value[-1] == '"'


def without_quotes(value: str) -> str:
    """Return the value of a parameter without its quotes; escapes stay."""
    return value[1:-1] if is_quoted(value) else value
