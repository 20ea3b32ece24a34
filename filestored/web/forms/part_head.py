"""Header fields of one part of a form (RFC 7578 section 4). Pure.

In: the header lines of a part, as bytes. Out: a `PartHead`, which says whether the part is a file.

Bytes are decoded as ISO-8859-1, so any bytes pass. Only `PartHead.file_name` needs UTF-8, and only images
have names. Folded lines are unfolded (RFC 5322 section 2.2.3). Refused is what readers understand
differently, and what announces other bytes than those of the file, such as a `Content-Transfer-Encoding`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from filestored.web.errors import HTTPError
from filestored.web.forms.errors import form_beyond_limits, malformed_form
from filestored.web.headers.parameters import is_quoted, parse_parameters, without_quotes

MAX_PART_HEADERS = 16
"""Maximum number of header lines of a part."""

MAX_DISPOSITION_CHARACTERS = 1024
"""Maximum length of a `Content-Disposition` of a part."""

_SINGLE = frozenset([
    "content-disposition", "content-encoding", "content-length", "content-range",
    "content-transfer-encoding", "content-type",
])  # fmt: skip
_IDENTITY = {
    "content-transfer-encoding": {"", "7bit", "8bit", "binary"},
    "content-encoding": {"", "identity"},
}
_CHARSETS = {"": "utf-8", "us-ascii": "utf-8", "utf-8": "utf-8", "iso-8859-1": "iso-8859-1"}

_FOLD = re.compile(r"\r\n[ \t]++(\r\n|\Z)?+")
_NAME = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile(r"[\0\r\n]")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,17}")
_ESCAPED = re.compile(r'\\([\\"])')
_PERCENT_ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}


@dataclass(frozen=True, slots=True)
class PartHead:
    """The head of a part: `is_file`, its announced `length` in bytes or None, and its disposition."""

    is_file: bool
    length: int | None
    parameters: Mapping[str, str]

    def file_name(self) -> str:
        """Return the name of the file. Raises `HTTPError` (400) for a name in an unknown or invalid encoding.

        `filename*` takes precedence (RFC 6266 section 4.3) if it can be decoded.
        """
        for name in (_extended_name(self.parameters), _plain_name(self.parameters)):
            if name is not None:
                return name
        raise HTTPError(400, "The name of the file is not UTF-8.")


def parse_part_head(lines: bytes) -> PartHead:
    """Parse the header lines of a part. Raises `HTTPError` (400, 413, 415)."""
    fields = _parse_fields(lines)
    disposition = fields.get("content-disposition", "")
    if len(disposition) > MAX_DISPOSITION_CHARACTERS:
        raise form_beyond_limits()
    try:
        _, parameters = parse_parameters(disposition)
    except ValueError:
        raise malformed_form() from None
    is_file = without_quotes(parameters.get("filename", "")) != "" or any(
        name.startswith("filename*") for name in parameters
    )
    if is_file:
        _check_encoding(fields)
    elif fields.get("content-type", "").lower().startswith("multipart/"):
        raise HTTPError(400, "A part of the form is a form itself; send each file as a part of its own.")
    length = fields.get("content-length")
    if length is not None and not _LENGTH.fullmatch(length):
        raise malformed_form()
    return PartHead(is_file, None if length is None else int(length), parameters)


def _parse_fields(lines: bytes) -> dict[str, str]:
    """Return values by lower-case names; of a name that is not read here, the last value."""
    fields: dict[str, str] = {}
    unfolded = _FOLD.sub(_unfold, lines.decode("latin-1")).split("\r\n")
    if len(unfolded) > MAX_PART_HEADERS:
        raise form_beyond_limits()
    for line in unfolded:
        name, colon, value = line.partition(":")
        key = name.lower()
        if (
            not colon
            or not _NAME.fullmatch(name)
            or _CONTROL.search(value)
            or (key in fields and key in _SINGLE)
        ):
            raise malformed_form()
        fields[key] = value.strip(" \t")
    return fields


def _unfold(fold: re.Match[str]) -> str:
    if fold[1] is not None:  # a line of blanks, which ends the head for some readers
        raise malformed_form()
    return " "


def _check_encoding(fields: Mapping[str, str]) -> None:
    if "content-range" in fields:
        raise HTTPError(400, "A file is uploaded whole; a Content-Range in a form is not understood.")
    for name, identities in _IDENTITY.items():
        if fields.get(name, "").lower() not in identities:
            raise HTTPError(400, "Send the files of a form without an encoding such as base64 or gzip.")


def _plain_name(parameters: Mapping[str, str]) -> str | None:
    """Return `filename`, unescaped; None if it is missing or not UTF-8."""
    if "filename" not in parameters:
        return None
    value = without_quotes(parameters["filename"])
    if '\\"' in value and is_quoted(parameters["filename"]):
        value = _ESCAPED.sub(r"\1", value)
    else:
        for escape, character in _PERCENT_ESCAPES.items():
            value = value.replace(escape, character)
    if value[1:3] == ":\\" or value[:2] == "\\\\":  # a path, from old browsers
        value = value.rpartition("\\")[2]
    return _decode(value.encode("latin-1"), "utf-8")


def _extended_name(parameters: Mapping[str, str]) -> str | None:
    """Return `filename*` (RFC 8187), also in several pieces (RFC 2231 section 3); None if undecodable."""
    if "filename*" in parameters:
        parameters = {"filename*0*": parameters["filename*"]}
    charset, data, number = "utf-8", b"", 0
    while (name := _piece(parameters, number)) is not None:
        text = without_quotes(parameters[name])
        if number == 0 and name.endswith("*"):
            charset, _, text = text.partition("'")
            text = text.partition("'")[2]
        piece = text.encode("latin-1")
        data += unquote_to_bytes(piece) if name.endswith("*") else piece
        number += 1
    return _decode(data, _CHARSETS[charset.lower()]) if number and charset.lower() in _CHARSETS else None


def _piece(parameters: Mapping[str, str], number: int) -> str | None:
    """Return the name of a piece of `filename*`, which ends in an asterisk if the piece is encoded."""
    names = (f"filename*{number}*", f"filename*{number}")
    return next((name for name in names if name in parameters), None)


def _decode(data: bytes, charset: str) -> str | None:
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        return None
