"""Arguments of the commands that ask a server: its address, its authority, and the token.

The secret comes from the environment, because each user of a machine can read the arguments of a process.
"""

import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from filestored.access.tokens import has_checksum
from filestored.client.address import ServerAddress, parse_server
from filestored.client.errors import ClientError
from filestored.client.server import Server
from filestored.commands.arguments import checked

SECRET_VARIABLE = "FILESTORED_TOKEN"  # noqa: S105  # a name
"""Environment variable of the secret of a token."""

SERVER_VARIABLE = "FILESTORED_SERVER"
"""Environment variable of the address of a server."""

MAX_JOBS = 64
"""Maximum of ``--jobs``."""

EPILOG = (
    f"{SECRET_VARIABLE} in the environment is the secret of a token, if the server needs one. Proxies of the "
    "environment are not used, and redirects are not followed."
)
"""End of the descriptions of commands that ask a server."""


def add_server(parser: ArgumentParser, *, required: bool = True) -> None:
    """Add the options ``--server`` and ``--cacert``."""
    add_server_address(parser, parse_server, "http://, https:// or unix:/path/of/socket", required=required)
    parser.add_argument(
        "--cacert",
        metavar="FILE",
        help="certificates of authorities, in place of the system's",
    )


def add_server_address(
    parser: ArgumentParser, parse: Callable[[str], object], text: str, *, required: bool
) -> None:
    """Add the option ``--server``, with a parser of its value and the beginning of its help."""

    def parse_address(address: str) -> object:
        if not address:
            raise ValueError(f"name a server with --server URL, or in {SERVER_VARIABLE}")
        return parse(address)

    missing = "" if required else None  # argparse parses a default that is a text
    parser.add_argument(
        "--server",
        metavar="URL",
        default=os.environ.get(SERVER_VARIABLE) or missing,
        type=checked(parse_address),
        help=f"{text} [default: {SERVER_VARIABLE}]",
    )


def add_jobs(parser: ArgumentParser) -> None:
    """Add the option ``--jobs``."""
    parser.add_argument(
        "--jobs", metavar="N", type=checked(_parse_jobs), default=4, help="files at once [default: 4]"
    )


def make_server(arguments: Namespace, address: ServerAddress) -> Server:
    """Return the server of the arguments, or one of a link. Raises `ClientError` and `OSError`."""
    return Server(address, read_secret(), arguments.cacert)


def read_secret() -> str:
    """Return the secret of the environment, or an empty text. Raises `ClientError` for a damaged one."""
    secret = os.environ.get(SECRET_VARIABLE, "")
    if secret and not has_checksum(secret):
        raise ClientError(f"{SECRET_VARIABLE} is not a whole secret; copy it again")
    return secret


def _parse_jobs(text: str) -> int:
    if not re.fullmatch("[0-9]{1,2}", text, re.ASCII) or not 1 <= int(text) <= MAX_JOBS:
        raise ValueError(f"{text!r} is not a number from 1 to {MAX_JOBS}")
    return int(text)
