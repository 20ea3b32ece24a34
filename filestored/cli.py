"""The command ``filestored``: the operator's work on a store or an images directory, without the daemon.

Flow: words of the command line -> one function for each command -> lines on stdout, and an exit status:
0 done; 1 it could not be done, with one line on stderr; 2 the words make no sense; 3 done, but files had
rotted or could not be read, each named on stderr; 130 interrupted, the same command goes on. On a terminal
there is a bar, where rich is installed (the extra ``[cli]``).

Rejected: a subcommand of twistd. It would start a reactor, a log and a pidfile for a loop over files.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from filestored import __version__, account_admin
from filestored.daemon.startup_errors import one_line
from filestored.digest import NAMES
from filestored.errors import FilestoredError
from filestored.storage.migration.migrate import MigrationProgress, abandon, migrate

DONE, FAILED, INCOMPLETE, INTERRUPTED = 0, 1, 3, 130
"""Exit statuses; argparse has 2 for words that make no sense."""


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    arguments = _parser().parse_args(words)
    try:
        status: int = arguments.command(arguments)
    except (FilestoredError, OSError) as error:
        _print_error(one_line(error))
        return FAILED
    except KeyboardInterrupt:
        _print_error("interrupted; run the same command again to go on")
        return INTERRUPTED
    return status


def _migrate(arguments: Namespace) -> int:
    if arguments.abandon:
        return _abandon(arguments.store)
    with progress(sys.stderr) as watcher:
        summary = migrate(arguments.store, arguments.to, watcher)
    _print(f"{arguments.store}: all files are named by {arguments.to}; {summary.moved} have been renamed")
    for digest in summary.rotten:
        _print_error(f"{digest} had rotted; it is in quarantine, and has no other name")
    for digest in summary.unreadable:
        _print_error(f"{digest} cannot be read; it keeps its former name")
    return INCOMPLETE if summary.rotten or summary.unreadable else DONE


def _abandon(store: str) -> int:
    name = abandon(store)
    _print(f"{store}: all files are named by {name}, as before the migration")
    return DONE


def _add_account(arguments: Namespace) -> int:
    _print(account_admin.add(arguments.images, arguments.name))
    return DONE


def _show_token(arguments: Namespace) -> int:
    _print(account_admin.token(arguments.images, arguments.name))
    return DONE


def _list_accounts(arguments: Namespace) -> int:
    for name in account_admin.names(arguments.images):
        _print(name)
    return DONE


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="filestored", description="Looks after a store of filestored.")
    parser.add_argument("--version", action="version", version=f"filestored {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    migration = commands.add_parser(
        "migrate",
        help="move a store to another hash algorithm",
        description="Reads every file once, verifies it, and names it by another algorithm. The former names "
        "go on answering GET. Stop the daemon first. May be interrupted: run it again to go on. A file that "
        "cannot be read keeps its former name, and the exit status is 3.",
    )
    migration.add_argument("store", metavar="STORE", help="directory of the store")
    direction = migration.add_mutually_exclusive_group(required=True)
    direction.add_argument("--to", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    direction.add_argument("--abandon", action="store_true", help="take an unfinished migration back")
    migration.set_defaults(command=_migrate)
    _add_account_commands(commands)
    return parser


def _add_account_commands(commands: Any) -> None:
    account = commands.add_parser(
        "account",
        help="create accounts of the image API, and print their tokens",
        description="Works on the --images directory itself, also beside a running daemon. Run it as the "
        "owner of the directory, or as root.",
    )
    actions = account.add_subparsers(required=True, metavar="ACTION")
    for name, command, text in (
        ("add", _add_account, "create an account, and print its token"),
        ("token", _show_token, "print the token of an account"),
        ("list", _list_accounts, "print the names of all accounts"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text.capitalize()}.")
        if command is not _list_accounts:
            action.add_argument("name", metavar="NAME", help="name of the user")
        action.add_argument(
            "--images", metavar="DIR", default="images", help="the daemon's --images [default: images]"
        )
        action.set_defaults(command=command)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


def _print_error(line: str) -> None:
    sys.stderr.write(f"filestored: {line}\n")


if __name__ == "__main__":
    sys.exit(main())


# --- A bar that shows how far something long has come; nothing where nobody would see it.


try:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
except ImportError:
    RICH = False
else:
    RICH = True
"""Whether a bar can be drawn."""


@contextmanager
def progress(stream: TextIO) -> Iterator[MigrationProgress]:
    """Somebody who draws a bar on `stream`, if that is a terminal; else somebody who keeps still."""
    if not (RICH and stream.isatty()):
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
    """Draws nothing."""

    def expect(self, files: int) -> None:
        """Nothing to do."""

    def read(self, size: int) -> None:
        """Nothing to do."""


class ProgressBar:
    """Moves a bar of rich by one for each file, and says how many bytes have been read."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task(decimal(0), total=None)
        self._bytes = 0

    def expect(self, files: int) -> None:
        """Draw an empty bar of that many files."""
        self._progress.update(self._task, total=files)

    def read(self, size: int) -> None:
        """Move on by one file."""
        self._bytes += size
        self._progress.update(self._task, advance=1, description=decimal(self._bytes))
