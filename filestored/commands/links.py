"""Command ``filestored link``: signed links, made without a server.

The secret comes from the environment, because each user of a machine can read the arguments of a process.
"""

import math
import os
import re
from argparse import Namespace
from typing import Any

from filestored.access.access_toml import check_bucket_name, expiry_seconds, parse_origin
from filestored.access.rules import DEFAULT_BUCKET
from filestored.access.signed_links import sign
from filestored.access.tokens import has_checksum
from filestored.commands.arguments import add_command, add_expires, checked
from filestored.commands.output import DONE, FAILED, print_error, print_line

SECRET_VARIABLE = "FILESTORED_TOKEN"  # noqa: S105  # a name
"""Environment variable of the secret of a token."""

SERVER_VARIABLE = "FILESTORED_SERVER"
"""Environment variable of the address of a server."""


def add_parser(commands: Any) -> None:
    """Add the command ``link``."""
    parser = add_command(
        commands,
        "link",
        "Print a signed link to a file. With it the file can be read without a token, until it expires. "
        f"{SECRET_VARIABLE} in the environment is the secret of the token that signs. No server is asked.",
        "filestored link 900150983cd24fb0d6963f7d28e17f72 --bucket builds --expires 7d "
        "--server https://files.example",
    )
    parser.add_argument("hash", metavar="HASH", type=checked(parse_hash), help="hash of the file")
    parser.add_argument(
        "--bucket",
        metavar="NAME",
        default=DEFAULT_BUCKET,
        type=checked(check_bucket_name),
        help="its bucket [default: default]",
    )
    add_expires(parser, required=True)
    server = os.environ.get(SERVER_VARIABLE)
    parser.add_argument(
        "--server",
        metavar="URL",
        default=server,
        required=not server,
        type=checked(parse_server),
        help=f"address of the server, without a path [default: {SERVER_VARIABLE}]",
    )
    parser.set_defaults(command=_link)


def parse_hash(text: str) -> str:
    """Return a hash in lower case. Raises `ValueError`."""
    if not re.fullmatch("[0-9a-f]{32,128}", text.lower(), re.ASCII):
        raise ValueError(f"{text!r} is not a hash: 32 to 128 hexadecimal digits")
    return text.lower()


def parse_server(text: str) -> str:
    """Return the address of a server, without a slash at its end. Raises `ValueError`."""
    address = parse_origin(text.removesuffix("/"))
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"{text!r} is not an address; write it like https://files.example")
    return address


def _link(arguments: Namespace) -> int:
    secret = os.environ.get(SECRET_VARIABLE, "")
    if not has_checksum(secret):
        reason = (
            "is not a whole secret; copy it again"
            if secret
            else "is not set; put the secret of a token there"
        )
        print_error(f"{SECRET_VARIABLE} {reason}")
        return FAILED
    bucket = "" if arguments.bucket == DEFAULT_BUCKET else f"/buckets/{arguments.bucket}"
    path = f"{bucket}/files/{arguments.hash}"
    query = sign(secret, path.encode("ascii"), math.ceil(expiry_seconds(arguments.expires)))
    print_line(f"{arguments.server}{path}?{query}")
    return DONE
