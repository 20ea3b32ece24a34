"""Command ``filestored put``: upload files to a server."""

import os
import stat
import sys
from argparse import Namespace
from contextlib import suppress
from functools import partial
from typing import Any

from filestored.client.errors import TransferError
from filestored.client.parallel import in_order
from filestored.client.progress import TransferProgress, transfer_progress
from filestored.client.upload import STDIN, Destination, find_destination, upload
from filestored.commands.arguments import add_bucket, add_command, bucket_path
from filestored.commands.output import DONE, FAILED, error_line
from filestored.commands.server_arguments import EPILOG, add_jobs, add_server, make_server
from filestored.daemon.startup_errors import describe


def add_parser(commands: Any) -> None:
    """Add the command ``put``."""
    parser = add_command(
        commands,
        "put",
        "Upload files, and print a line for each: its hash, two blanks, its name, in the order of the "
        f"arguments. A file that fails is named on stderr; the others are uploaded: exit status 1. {EPILOG}",
        "filestored put photo.png notes.txt --server http://localhost:9000",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="file, pipe or device; - is stdin")
    add_bucket(parser, "bucket that gets them")
    add_jobs(parser)
    add_server(parser)
    parser.set_defaults(command=_put)


def _put(arguments: Namespace) -> int:
    files: list[str] = arguments.files
    if files.count(STDIN) > 1:
        raise TransferError("stdin can be uploaded once; write - once")
    with make_server(arguments, arguments.server) as server:
        destination = find_destination(server, bucket_path(arguments.bucket))
        return _put_all(destination, files, arguments.jobs)


def _put_all(destination: Destination, files: list[str], jobs: int) -> int:
    status = DONE
    with transfer_progress(len(files), _total(files)) as progress:
        work = partial(_upload, destination, progress)
        for name, result in in_order(destination.server, work, files, jobs):
            if isinstance(result, str):
                progress.print_above(_line(result, name), sys.stdout)
            else:
                status = FAILED
                progress.print_above(error_line(_reason(name, result)), sys.stderr)
    return status


def _upload(destination: Destination, progress: TransferProgress, name: str) -> str:
    with progress.transfer(name) as transfer:
        return upload(destination, name, transfer)


def _total(files: list[str]) -> int | None:
    """Return the size of all files; None if one of them has none."""
    total = 0
    for name in files:
        with suppress(OSError):
            found = os.stat(name)
            if name == STDIN or not stat.S_ISREG(found.st_mode):
                return None
            total += found.st_size
    return total


def _line(digest: str, name: str) -> str:
    r"""Return a line as ``sha256sum`` prints it: ``\`` before the hash shows an escaped name."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}"


def _reason(name: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.filename == name:
        return describe(error)
    return f"{name}: {describe(error)}"
