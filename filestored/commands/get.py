"""Command ``filestored get``: download files from a server."""

import os
import sys
from argparse import Namespace
from functools import partial
from typing import Any

from filestored.client.address import FileAddress, is_url, parse_hash, parse_link
from filestored.client.download import STDOUT, download
from filestored.client.errors import ClientError
from filestored.client.parallel import in_order
from filestored.client.progress import TransferProgress, transfer_progress
from filestored.client.server import Server
from filestored.commands.arguments import add_bucket, add_command, bucket_path
from filestored.commands.output import DONE, FAILED, error_line
from filestored.commands.server_arguments import EPILOG, SERVER_VARIABLE, add_server, make_server
from filestored.daemon.startup_errors import describe


def add_parser(commands: Any) -> None:
    """Add the command ``get``."""
    parser = add_command(
        commands,
        "get",
        "Download a file, and check its hash. It is written to FILE.part and then renamed; a part of an "
        f"earlier run is continued. A URL or signed link names its server itself. {EPILOG}",
        "filestored get 900150983cd24fb0d6963f7d28e17f72 -o copy.txt --server http://localhost:9000",
    )
    parser.add_argument("file", metavar="HASH", help="hash of the file, or its URL, or a signed link to it")
    parser.add_argument(
        *("-o", "--output"), metavar="FILE", help="file, or directory; - is stdout [default: the hash]"
    )
    add_bucket(parser, "its bucket")
    add_server(parser, required=False)
    parser.set_defaults(command=_get)


def _get(arguments: Namespace) -> int:
    file = _file(arguments)
    with make_server(arguments, file.server) as server, transfer_progress(1, None) as progress:
        work = partial(_download, server, _output(arguments.output, file.hash), progress)
        for found, error in in_order(server, work, [file], 1):
            if error is not None:
                progress.print_above(error_line(f"{found.hash}: {describe(error)}"), sys.stderr)
                return FAILED
    return DONE


def _download(server: Server, output: str, progress: TransferProgress, file: FileAddress) -> None:
    with progress.transfer(file.hash if output == STDOUT else output) as transfer:
        download(server, file, output, transfer)


def _file(arguments: Namespace) -> FileAddress:
    try:
        if is_url(arguments.file):
            return parse_link(arguments.file, arguments.server)
        digest = parse_hash(arguments.file)
    except ValueError as error:
        raise ClientError(str(error)) from None
    if arguments.server is None:
        raise ClientError(f"no server is named; write --server URL, or set {SERVER_VARIABLE}")
    target = f"{bucket_path(arguments.bucket)}/files/{digest}"
    return FileAddress(arguments.server, target, digest, trusted=True)


def _output(output: str | None, digest: str) -> str:
    """Return the path to write; the server has no influence on it."""
    if output is None:
        return digest
    return os.path.join(output, digest) if output != STDOUT and os.path.isdir(output) else output
