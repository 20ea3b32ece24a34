"""Command ``filestored link``: signed links, made without a server.

The secret comes from the environment, because each user of a machine can read the arguments of a process.
"""

import math
from argparse import Namespace
from typing import Any

from filestored.access.access_toml import expiry_seconds, parse_origin
from filestored.access.signed_links import sign
from filestored.client.address import parse_hash
from filestored.commands.arguments import add_bucket, add_command, add_expires, bucket_path, checked
from filestored.commands.output import DONE, FAILED, print_error, print_line
from filestored.commands.server_arguments import SECRET_VARIABLE, add_server_address, read_secret


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
    add_bucket(parser, "its bucket")
    add_expires(parser, required=True)
    add_server_address(parser, parse_server, "address of the server, without a path", required=True)
    parser.set_defaults(command=_link)


def parse_server(text: str) -> str:
    """Return the address of a server, without a slash at its end. Raises `ValueError`."""
    address = parse_origin(text.removesuffix("/"))
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"{text!r} is not an address; write it like https://files.example")
    return address


def _link(arguments: Namespace) -> int:
    secret = read_secret()
    if not secret:
        print_error(f"{SECRET_VARIABLE} is not set; put the secret of a token there")
        return FAILED
    path = f"{bucket_path(arguments.bucket)}/files/{arguments.hash}"
    query = sign(secret, path.encode("ascii"), math.ceil(expiry_seconds(arguments.expires)))
    print_line(f"{arguments.server}{path}?{query}")
    return DONE
