"""Command ``filestored``: the daemon, the client, and administration of stores, accounts and access files.

Each command is a module of `commands/`; results go to stdout. Exit status: 0 done; 1 failed, with one line on
stderr; 2 invalid arguments; 3 done, but corrupt or unreadable files are named on stderr; 130 interrupted, and
the same command continues.

Rejected: a subcommand of twistd, which would start a reactor, a log and a pidfile for a loop over files.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from filestored import __version__
from filestored.commands import accounts, buckets, get, links, migration, put, serve, tokens, verify
from filestored.commands.output import FAILED, INTERRUPTED, WRONG_ARGUMENTS, print_error
from filestored.commands.store import gc, ls, rm, stat
from filestored.daemon.startup_errors import describe
from filestored.errors import FilestoredError

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
    parser = _parser()
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


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="filestored", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"filestored {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (serve, put, get, links, ls, stat, rm, gc, verify, migration, accounts, tokens, buckets):
        module.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
