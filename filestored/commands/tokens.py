"""Commands ``filestored token add``, ``list`` and ``revoke``: the tokens in an access file."""

import time
from argparse import Namespace
from collections.abc import Mapping, Set
from typing import Any

from filestored.access import access_file
from filestored.access.access_toml import check_bucket_of_token, check_token_name
from filestored.access.rules import NO_RIGHTS, Right, Token, ordered
from filestored.commands.arguments import (
    add_access_file,
    add_command,
    add_expires,
    add_json,
    checked,
    format_time,
)
from filestored.commands.output import DONE, print_json, print_line

JSON_FORM = '{"tokens": [{"token", "key", "expires", "expired", "buckets": {BUCKET: [RIGHT, ...]}}, ...]}'


def add_parser(commands: Any) -> None:
    """Add the command ``token``."""
    parser = commands.add_parser(
        "token",
        help="add, list and revoke tokens of an access file",
        description="Works on the daemon's --access file; comments in it stay. Daemons read a changed file "
        "within a second.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_add(actions)
    listing = add_command(
        actions,
        "list",
        "Print the tokens of an access file with their expiry and rights. Secrets are not stored there.",
        "filestored token list --access access.toml",
    )
    add_access_file(listing)
    add_json(listing, JSON_FORM)
    listing.set_defaults(command=_list)
    revoking = add_command(
        actions,
        "revoke",
        "Remove a token from an access file. Its signed links end with it.",
        "filestored token revoke ci --access access.toml",
    )
    revoking.add_argument("name", metavar="NAME", help="name of the token")
    add_access_file(revoking)
    revoking.set_defaults(command=_revoke)


def parse_rights(text: str) -> tuple[str, frozenset[Right]]:
    """Parse the rights in a bucket: ``builds=read,write``. Raises `ValueError`."""
    bucket, sign, rights = text.partition("=")
    if not sign or not {*rights.split(",")} <= {*Right, ""}:
        raise ValueError(f"{text!r} is not like builds=read,write; the rights are {', '.join(Right)}")
    return check_bucket_of_token(bucket), frozenset(map(Right, filter(None, rights.split(","))))


def _add_add(actions: Any) -> None:
    parser = add_command(
        actions,
        "add",
        "Add a token to an access file, and print its secret. The secret is not stored and cannot be printed "
        "again. A missing file is created, and so are missing tables of its buckets.",
        "filestored token add ci --access access.toml --bucket builds=read,write --bucket '*=read' "
        "--expires 90d",
    )
    parser.add_argument("name", metavar="NAME", type=checked(check_token_name), help="name of the token")
    add_access_file(parser)
    parser.add_argument(
        "--bucket",
        metavar="BUCKET=RIGHT,...",
        dest="buckets",
        action="append",
        required=True,
        type=checked(parse_rights),
        help="rights in a bucket: read, write, delete, list; * means all other buckets; repeatable",
    )
    add_expires(parser, required=False)
    parser.set_defaults(command=_add)


def _add(arguments: Namespace) -> int:
    buckets: dict[str, frozenset[Right]] = {}
    for bucket, rights in arguments.buckets:
        buckets[bucket] = buckets.get(bucket, NO_RIGHTS) | rights
    print_line(access_file.add_token(arguments.access, arguments.name, buckets, arguments.expires))
    return DONE


def _list(arguments: Namespace) -> int:
    tokens = access_file.read_rules(arguments.access).tokens.values()
    if arguments.json:
        print_json({"tokens": [_as_json(token, time.time()) for token in tokens]})
        return DONE
    for token in tokens:
        print_line("  ".join((token.name, _expiry(token, time.time()), _rights(token.buckets))).rstrip())
    return DONE


def _revoke(arguments: Namespace) -> int:
    access_file.revoke_token(arguments.access, arguments.name)
    print_line(f"the token {arguments.name} is revoked")
    return DONE


def _as_json(token: Token, now: float) -> dict[str, object]:
    return {
        "token": token.name,
        "key": token.key_id,
        "expires": None if token.expires is None else format_time(token.expires),
        "expired": token.is_expired(now),
        "buckets": {bucket: ordered(rights) for bucket, rights in token.buckets.items()},
    }


def _expiry(token: Token, now: float) -> str:
    if token.expires is None:
        return "no expiry"
    return f"{'expired' if token.is_expired(now) else 'expires'} {format_time(token.expires)}"


def _rights(buckets: Mapping[str, Set[Right]]) -> str:
    return " ".join(f"{bucket}={','.join(ordered(rights))}" for bucket, rights in buckets.items())
