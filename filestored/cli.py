"""Command ``filestored``: administration of stores, image accounts and access files, without the daemon.

Each command is a module of `commands/`; results go to stdout. Exit status: 0 done; 1 failed, with one line on
stderr; 2 invalid arguments; 3 done, but corrupt or unreadable files are named on stderr; 130 interrupted, and
the same command continues.

Rejected: a subcommand of twistd, which would start a reactor, a log and a pidfile for a loop over files.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from filestored import __version__
from filestored.commands import accounts, buckets, links, migration, tokens, verify
from filestored.commands.output import FAILED, INTERRUPTED, print_error
from filestored.daemon.startup_errors import one_line
from filestored.errors import FilestoredError


def main(words: Sequence[str] | None = None) -> int:
    """Run a command of the command line; return the exit status."""
    arguments = _parser().parse_args(words)
    try:
        status: int = arguments.command(arguments)
    except (FilestoredError, OSError) as error:
        print_error(one_line(error))
        return FAILED
    except KeyboardInterrupt:
        print_error("interrupted; run the same command again to continue")
        return INTERRUPTED
    return status


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="filestored", description="Administration of filestored: stores, accounts, tokens and links."
    )
    parser.add_argument("--version", action="version", version=f"filestored {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (migration, accounts, tokens, buckets, links, verify):
        module.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
