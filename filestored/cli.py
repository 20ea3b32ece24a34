"""Command ``filestored``: the daemon, the client, and administration of stores, accounts and access files.

Each command is a module of `commands/`; results go to stdout. Exit status: 0 done; 1 failed, with one line on
stderr; 2 invalid arguments; 3 done, but corrupt or unreadable files are named on stderr; 130 interrupted, and
the same command continues.

Rejected: a subcommand of twistd, which would start a reactor, a log and a pidfile for a loop over files.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from importlib import import_module

from filestored import __version__
from filestored.commands import serve
from filestored.commands.output import FAILED, INTERRUPTED, WRONG_ARGUMENTS, print_error
from filestored.daemon.startup_errors import describe
from filestored.errors import FilestoredError

COMMANDS = {
    "serve": "serve",
    "put": "put",
    "get": "get",
    "link": "links",
    "ls": "store.ls",
    "stat": "store.stat",
    "rm": "store.rm",
    "gc": "store.gc",
    "verify": "verify",
    "migrate": "migration",
    "account": "accounts",
    "token": "tokens",
    "bucket": "buckets",
}
"""Modules of `commands/` by command. A command imports its own only, which halves the time of its start."""

DESCRIPTION = """\
Start the daemon on http://localhost:9000, with its files in ./store:

  filestored serve
  filestored serve --help          all options of the daemon
  twistd filestored                in the background
"""
"""Beginning of the help, also printed without a command."""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command of the command line; return the exit status."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == [serve.NAME]:
        serve.serve(words[1:])
    parser = _parser(words[:1] if words and words[0] in COMMANDS else COMMANDS)
    if not words:
        parser.print_help(sys.stderr)
        return WRONG_ARGUMENTS
    arguments = parser.parse_args(words)
    try:
        status: int = arguments.command(arguments)
    except (FilestoredError, OSError) as error:
        print_error(describe(getattr(error, "reason", "") or error))
        return FAILED
    except KeyboardInterrupt:
        print_error("interrupted; run the same command again to continue")
        return INTERRUPTED
    return status


def _parser(names: Iterable[str]) -> ArgumentParser:
    """Return the parser of these commands."""
    parser = ArgumentParser(
        prog="filestored", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"filestored {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in names:
        import_module(f"filestored.commands.{COMMANDS[name]}").add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
