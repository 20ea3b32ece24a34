"""The text of the access file: TOML, decoded and checked by msgspec. Pure.

In: the text. Out: `Token` and `BucketRules` by their names, or one `AccessFileError` that names the key.
Tables are converted one by one, because msgspec does not name the keys of a dictionary in its messages.

Messages contain neither secrets nor their hashes, because a log receives them.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, TypeVar

import msgspec

from filestored.access.tokens import PREFIX
from filestored.access.values import OTHER_BUCKETS, BucketRules, Right, Token
from filestored.errors import AccessFileError
from filestored.settings import parse_duration, parse_size

MAX_INTEGER = 2**63 - 1
"""Maximum of an integer of TOML."""

MAX_ERROR_LENGTH = 500
"""Maximum characters of the message of an error."""

_T = TypeVar("_T")
_V = TypeVar("_V")

_Positive = Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)]


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    tokens: dict[str, Any] = {}
    buckets: dict[str, Any] = {}


class _TokenTable(msgspec.Struct, forbid_unknown_fields=True):
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{64}\Z")]
    buckets: dict[str, Any]
    expires: Any = None


class _BucketTable(msgspec.Struct, forbid_unknown_fields=True):
    quota: _Positive | str | None = None
    max_files: _Positive | None = None
    expire: str | None = None
    public: frozenset[Right] = frozenset()
    cors: list[str] = []


def parse(text: str) -> tuple[dict[str, Token], dict[str, BucketRules]]:
    """Return the tokens and buckets of an access file by their names. Raises `AccessFileError`."""
    try:
        document = msgspec.toml.decode(text, type=_Document)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _error("", error) from None
    tokens = {name: _token(name, table) for name, table in document.tokens.items()}
    _check_different(tokens)
    return tokens, {name: _bucket(name, table) for name, table in document.buckets.items()}


def check_token_name(name: str) -> str:
    """Return a name that a token may have. Raises `ValueError`."""
    if not _TOKEN_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not the name of a token: 1 to 64 letters, digits, dots, dashes and underscores, "
            "and the first is a letter or digit"
        )
    return name


def check_bucket_name(name: str) -> str:
    """Return a name that a bucket may have. Raises `ValueError`."""
    if not _BUCKET_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not the name of a bucket: 1 to 63 lower-case letters, digits and dashes, and the "
            "first is no dash"
        )
    return name


def check_bucket_of_token(name: str) -> str:
    """Return the name of a bucket, or ``*`` for all others. Raises `ValueError`."""
    return name if name == OTHER_BUCKETS else check_bucket_name(name)


def parse_origin(text: str) -> str:
    """Return the origin of a web page as browsers send it. Raises `ValueError`."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        raise ValueError(
            f"{text!r} is not an origin; write it like https://app.example or http://localhost:8000"
        )
    port = match["port"]
    suffix = f":{int(port)}" if port and int(port) != _DEFAULT_PORTS.get(match["scheme"]) else ""
    return f"{match['scheme']}://{match['host']}{suffix}"


def _token(name: str, value: object) -> Token:
    key = f"tokens.{name}"
    _checked("tokens", check_token_name, name)
    table = _converted(key, value, _TokenTable)
    buckets = {}
    for bucket, rights in table.buckets.items():
        _checked(f"{key}.buckets", check_bucket_of_token, bucket)
        buckets[bucket] = _converted(f"{key}.buckets.{bucket}", rights, frozenset[Right])
    expires = None if table.expires is None else _checked(f"{key}.expires", expiry_seconds, table.expires)
    return Token(name, bytes.fromhex(table.sha256), expires, buckets)


def _bucket(name: str, value: object) -> BucketRules:
    key = f"buckets.{name}"
    _checked("buckets", check_bucket_name, name)
    table = _converted(key, value, _BucketTable)
    return BucketRules(
        name,
        quota=_checked(f"{key}.quota", parse_size, table.quota)
        if isinstance(table.quota, str)
        else table.quota,
        max_files=table.max_files,
        expire=None if table.expire is None else _checked(f"{key}.expire", parse_duration, table.expire),
        public=table.public,
        cors=frozenset(_checked(f"{key}.cors", parse_origin, origin) for origin in table.cors),
    )


def expiry_seconds(value: object) -> float:
    """Return the seconds since the epoch of a date or a time; UTC if it has no zone. Raises `ValueError`."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise ValueError("write a date without quotes, like 2027-03-01 or 2027-03-01T12:00:00Z")
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def _check_different(tokens: Mapping[str, Token]) -> None:
    """Raise `AccessFileError` if two tokens have the same secret."""
    names: dict[bytes, str] = {}
    for name, token in tokens.items():
        other = names.setdefault(token.sha256, name)
        if other != name:
            raise AccessFileError(f"tokens.{name}.sha256: it is that of tokens.{other}; make another secret")


def _converted(key: str, value: object, wanted: type[_T]) -> _T:
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise _error(key, error) from None


def _checked(key: str, check: Callable[[_V], _T], value: _V) -> _T:
    try:
        return check(value)
    except ValueError as error:
        raise _error(key, error) from None


def _error(key: str, error: Exception) -> AccessFileError:
    """Return the error about a key. Messages of msgspec end with the rest of the key."""
    message, _, rest = str(error).partition(" - at `$")
    for pattern, reason in _FIELD_REASONS:
        if match := pattern.fullmatch(message):
            rest, message = f"{rest.rstrip('`')}.{match[1]}", reason
    line = ": ".join(filter(None, (f"{key}{rest.rstrip('`')}".lstrip("."), message.replace(" | null", ""))))
    return AccessFileError(_SECRET.sub("***", " ".join(line.split()))[:MAX_ERROR_LENGTH])


_FIELD_REASONS = (
    (re.compile("Object contains unknown field `(.*)`", re.DOTALL), "unknown key"),
    (re.compile("Object missing required field `(.*)`"), "it is missing"),
)
_SECRET = re.compile(rf"{PREFIX}[\w-]*|[0-9A-Fa-f]{{32,}}")
"""A secret, or the SHA-256 of one."""

_TOKEN_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_BUCKET_NAME = re.compile("[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
