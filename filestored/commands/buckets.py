"""Command ``filestored bucket list``: the buckets of an access file with their rules."""

from argparse import Namespace
from typing import Any

from filestored.access import access_file
from filestored.access.rules import BucketRules, ordered
from filestored.commands.arguments import add_access_file, add_command, add_json
from filestored.commands.output import DONE, print_json, print_line
from filestored.settings import format_duration, format_size

JSON_FORM = (
    '{"buckets": [{"bucket", "quota", "max_files", "expire", "public", "cors"}, ...]}, bytes and seconds'
)


def add_parser(commands: Any) -> None:
    """Add the command ``bucket``."""
    parser = commands.add_parser(
        "bucket", help="list the buckets of an access file", description="Reads the daemon's --access file."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = add_command(
        actions,
        "list",
        "Print the buckets of an access file with their rules. The bucket default exists without a table, "
        "and so does each bucket that a token names.",
        "filestored bucket list --access access.toml",
    )
    add_access_file(listing)
    add_json(listing, JSON_FORM)
    listing.set_defaults(command=_list)


def _list(arguments: Namespace) -> int:
    buckets = access_file.read_rules(arguments.access).buckets
    found = [buckets[name] for name in sorted(buckets)]
    if arguments.json:
        print_json({"buckets": [_as_json(bucket) for bucket in found]})
        return DONE
    for bucket in found:
        print_line(_as_text(bucket))
    return DONE


def _as_json(bucket: BucketRules) -> dict[str, object]:
    return {
        "bucket": bucket.name,
        "quota": bucket.quota,
        "max_files": bucket.max_files,
        "expire": bucket.expire,
        "public": ordered(bucket.public),
        "cors": sorted(bucket.cors),
    }


def _as_text(bucket: BucketRules) -> str:
    rules = {
        "quota": None if bucket.quota is None else format_size(bucket.quota),
        "max_files": bucket.max_files,
        "expire": None if bucket.expire is None else format_duration(bucket.expire),
        "public": ",".join(ordered(bucket.public)),
        "cors": ",".join(sorted(bucket.cors)),
    }
    return "  ".join((bucket.name, *(f"{name}={value}" for name, value in rules.items() if value)))
