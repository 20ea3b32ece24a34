"""Command ``filestored migrate``: move a store to another hash algorithm, or undo that."""

import os
import sys
import time
from argparse import ArgumentTypeError, Namespace
from typing import Any

from filestored.commands.arguments import add_command
from filestored.commands.output import DONE, INCOMPLETE, print_error, print_line
from filestored.commands.progress import progress
from filestored.digest import ALGORITHMS
from filestored.storage.migration.migrate import abandon, migrate
from filestored.storage.object_store.url import is_url


def add_parser(commands: Any) -> None:
    """Add the command ``migrate``."""
    parser = add_command(
        commands,
        "migrate",
        "Move a store to another hash algorithm. Reads every file once, checks it, and names it by that "
        "algorithm. Former names still work for GET. Stop the daemon first. The command can be interrupted; "
        "run it again to continue. A file that cannot be read keeps its former name: exit status 3.",
        "filestored migrate store --to sha256",
    )
    parser.add_argument("store", metavar="STORE", type=_directory, help="directory of the store")
    direction = parser.add_mutually_exclusive_group(required=True)
    direction.add_argument("--to", metavar="NAME", choices=ALGORITHMS, help=", ".join(ALGORITHMS))
    direction.add_argument("--abandon", action="store_true", help="undo an unfinished migration")
    parser.set_defaults(command=_migrate)


def _migrate(arguments: Namespace) -> int:
    if arguments.abandon:
        return _abandon(arguments.store)
    began = time.monotonic()
    with progress(sys.stderr) as watcher:
        summary = migrate(arguments.store, arguments.to, watcher)
    print_line(
        f"{arguments.store}: all files are named by {arguments.to}; {summary.moved} have been renamed, "
        f"after {time.monotonic() - began:.1f} s"
    )
    for digest in summary.corrupt:
        print_error(f"{digest} is corrupt; it is in quarantine, and has no other name")
    for digest in summary.unreadable:
        print_error(f"{digest} cannot be read; it keeps its former name")
    return INCOMPLETE if summary.corrupt or summary.unreadable else DONE


def _abandon(store: str) -> int:
    name = abandon(store)
    print_line(f"{store}: all files are named by {name}, as before the migration")
    return DONE


def _directory(text: str) -> str:
    """Return the path of a directory. Raises `ArgumentTypeError` for the URL of an object store."""
    if is_url(text):
        raise ArgumentTypeError(f"{text!r} is not a directory; copy the object store into one first")
    return os.path.realpath(text)
