"""Parsers and groups of arguments that several commands have."""

import math
import textwrap
import time
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from filestored.access.access_toml import check_bucket_name, expiry_seconds
from filestored.access.values import DEFAULT_BUCKET
from filestored.settings import parse_duration

HELP_WIDTH = 78
"""Maximum characters of a line of a description."""

_T = TypeVar("_T")


def checked(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return `parse` for argparse, which shows the message of an `ArgumentTypeError` only."""

    def parse_argument(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return parse_argument


def parse_expiry(text: str) -> date:
    """Parse a date or time to come, or a duration from now: ``2027-03-01``, ``90d``. Raises `ValueError`."""
    now = time.time()
    expiry = _parse_date(text) or datetime.fromtimestamp(math.ceil(now + _parse_duration(text)), UTC)
    if expiry_seconds(expiry) <= now:
        raise ValueError(f"{text!r} is in the past")
    return expiry


def format_time(seconds: float) -> str:
    """Return a time, in seconds since the epoch, as RFC 3339 text in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def add_command(commands: Any, name: str, text: str, example: str) -> ArgumentParser:
    """Add a command whose help ends with an example; its first sentence stands in the list of commands."""
    first = text.partition(".")[0]
    parser: ArgumentParser = commands.add_parser(
        name,
        help=first[0].lower() + first[1:],
        description=textwrap.fill(text, HELP_WIDTH),
        epilog=f"example:\n  {example}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    return parser


def add_access_file(parser: ArgumentParser) -> None:
    """Add the option ``--access``."""
    parser.add_argument("--access", metavar="FILE", required=True, help="the daemon's --access file")


def add_expires(parser: ArgumentParser, *, required: bool) -> None:
    """Add the option ``--expires``."""
    default = "" if required else " [default: never]"
    parser.add_argument(
        "--expires",
        metavar="TIME",
        required=required,
        type=checked(parse_expiry),
        help=f"a duration from now (90d) or a date (2027-03-01, 00:00 UTC){default}",
    )


def add_bucket(parser: ArgumentParser, text: str, *, default: str | None = DEFAULT_BUCKET) -> None:
    """Add the option ``--bucket``, whose help begins with `text`; no `default` means all buckets."""
    parser.add_argument(
        "--bucket",
        metavar="NAME",
        default=default,
        type=checked(check_bucket_name),
        help=f"{text} [default: {default or 'all'}]",
    )


def bucket_path(bucket: str) -> str:
    """Return the path of a bucket in URLs, without a slash at its end."""
    return "" if bucket == DEFAULT_BUCKET else f"/buckets/{bucket}"


def add_json(parser: ArgumentParser, form: str) -> None:
    """Add the option ``--json``."""
    parser.add_argument("--json", action="store_true", help=f"print one JSON document: {form}")


def _parse_date(text: str) -> date | None:
    for parse in (date.fromisoformat, datetime.fromisoformat):
        try:
            return parse(text)
        except ValueError:
            continue
    return None


def _parse_duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a duration like 90d nor a date like 2027-03-01") from None
