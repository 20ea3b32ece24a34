"""Command ``filestored``: administration of stores, image accounts and access files, without the daemon.

Each command is one function, here or in `commands/`; results go to stdout. Exit status: 0 done; 1 failed,
with one line on stderr; 2 invalid arguments; 3 done, but corrupt or unreadable files are named on stderr; 130
interrupted, and the same command continues. On a terminal a progress bar is drawn, if rich is installed (the
extra ``cli``).

Rejected: a subcommand of twistd, which would start a reactor, a log and a pidfile for a loop over files.
"""

import json
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from filestored import __version__, account_admin
from filestored.commands import buckets, links, tokens
from filestored.commands.output import DONE, FAILED, INCOMPLETE, INTERRUPTED
from filestored.commands.output import print_error as _print_error
from filestored.commands.output import print_line as _print
from filestored.daemon.startup_errors import one_line
from filestored.digest import ALGORITHMS
from filestored.errors import FilestoredError
from filestored.storage.migration.migrate import MigrationProgress, abandon, migrate
from filestored.storage.object_store.url import is_url

try:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
except ImportError:
    HAS_RICH = False
else:
    HAS_RICH = True
"""Whether the extra ``cli`` is installed, which draws the progress bar."""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command of the command line; return the exit status."""
    arguments = _parser().parse_args(words)
    try:
        status: int = arguments.command(arguments)
    except (FilestoredError, OSError) as error:
        _print_error(one_line(error))
        return FAILED
    except KeyboardInterrupt:
        _print_error("interrupted; run the same command again to continue")
        return INTERRUPTED
    return status


def _migrate(arguments: Namespace) -> int:
    if arguments.abandon:
        return _abandon(arguments.store)
    with progress(sys.stderr) as watcher:
        summary = migrate(arguments.store, arguments.to, watcher)
    _print(f"{arguments.store}: all files are named by {arguments.to}; {summary.moved} have been renamed")
    for digest in summary.corrupt:
        _print_error(f"{digest} is corrupt; it is in quarantine, and has no other name")
    for digest in summary.unreadable:
        _print_error(f"{digest} cannot be read; it keeps its former name")
    return INCOMPLETE if summary.corrupt or summary.unreadable else DONE


def _abandon(store: str) -> int:
    name = abandon(store)
    _print(f"{store}: all files are named by {name}, as before the migration")
    return DONE


def _add_account(arguments: Namespace) -> int:
    return _print_token(arguments, account_admin.add(arguments.images, arguments.name))


def _show_token(arguments: Namespace) -> int:
    return _print_token(arguments, account_admin.token(arguments.images, arguments.name))


def _print_token(arguments: Namespace, token: str) -> int:
    _print(json.dumps({"account": arguments.name, "token": token}) if arguments.json else token)
    return DONE


def _list_accounts(arguments: Namespace) -> int:
    names = account_admin.names(arguments.images)
    for line in [json.dumps({"accounts": names})] if arguments.json else names:
        _print(line)
    return DONE


def _delete_account(arguments: Namespace) -> int:
    account_admin.delete(arguments.images, arguments.name)
    _print(f"the account {arguments.name} and its images are deleted")
    return DONE


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="filestored", description="Administration of filestored: stores, accounts, tokens and links."
    )
    parser.add_argument("--version", action="version", version=f"filestored {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    migration = commands.add_parser(
        "migrate",
        help="move a store to another hash algorithm",
        description="Reads every file once, checks it, and names it by another hash algorithm. Former names "
        "still work for GET. Stop the daemon first. You can interrupt the command; run it again to continue. "
        "A file that cannot be read keeps its former name, and the exit status is 3.",
    )
    migration.add_argument("store", metavar="STORE", type=_directory, help="directory of the store")
    direction = migration.add_mutually_exclusive_group(required=True)
    direction.add_argument("--to", metavar="NAME", choices=ALGORITHMS, help=", ".join(ALGORITHMS))
    direction.add_argument("--abandon", action="store_true", help="undo an unfinished migration")
    migration.set_defaults(command=_migrate)
    _add_account_commands(commands)
    for module in (tokens, buckets, links):
        module.add_parser(commands)
    return parser


def _add_account_commands(commands: Any) -> None:
    account = commands.add_parser(
        "account",
        help="create, list and delete accounts of the image API, and print their tokens",
        description="Works on --images itself, also beside running daemons. Run it as the owner of the "
        "directory, or as root; for an object store, with the variables of the daemon.",
    )
    actions = account.add_subparsers(required=True, metavar="ACTION")
    for name, command, text, output in _ACCOUNT_ACTIONS:
        action = actions.add_parser(name, help=text[0].lower() + text.partition(".")[0][1:], description=text)
        if command is not _list_accounts:
            action.add_argument("name", metavar="NAME", help="name of the account")
        if output:
            action.add_argument("--json", action="store_true", help=f"print one JSON document: {output}")
        action.add_argument(
            "--images",
            metavar="PLACE",
            type=_place,
            default="images",
            help="the daemon's --images, a directory or a URL [default: images]",
        )
        action.set_defaults(command=command)


_ACCOUNT_ACTIONS = (
    ("add", _add_account, "Create an account, and print its token.", '{"account": NAME, "token": TOKEN}'),
    ("token", _show_token, "Print the token of an account.", '{"account": NAME, "token": TOKEN}'),
    ("list", _list_accounts, "Print the names of all accounts.", '{"accounts": [NAME, ...]}'),
    (
        "delete",
        _delete_account,
        "Delete an account with its images, without a question. Its token is invalid at once, and its name "
        "can be registered again. If the command is interrupted, run it again; the name is taken until then.",
        None,
    ),
)
"""Actions of ``account``: name, function, description, and the form of the JSON output, if there is one."""


def _place(text: str) -> str:
    """Return the URL of an object store, or the path of a directory."""
    return text if is_url(text) else os.path.realpath(text)


def _directory(text: str) -> str:
    """Return the path of a directory. Raises `ArgumentTypeError` for the URL of an object store."""
    if is_url(text):
        raise ArgumentTypeError(f"{text!r} is not a directory; copy the object store into one first")
    return os.path.realpath(text)


@contextmanager
def progress(stream: TextIO) -> Iterator[MigrationProgress]:
    """Yield a progress bar on `stream` if it is a terminal, else `NoProgress`."""
    if not (HAS_RICH and stream.isatty()):
        yield NoProgress()
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files, {task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream)) as progress:
        yield ProgressBar(progress)


class NoProgress:
    """Shows no progress."""

    def expect(self, files: int) -> None:
        """Nothing to do."""

    def read(self, size: int) -> None:
        """Nothing to do."""


class ProgressBar:
    """A progress bar of rich: files, and bytes read."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task(decimal(0), total=None)
        self._bytes = 0

    def expect(self, files: int) -> None:
        """Set the total number of files."""
        self._progress.update(self._task, total=files)

    def read(self, size: int) -> None:
        """Count one file of `size` bytes."""
        self._bytes += size
        self._progress.update(self._task, advance=1, description=decimal(self._bytes))


if __name__ == "__main__":
    sys.exit(main())
