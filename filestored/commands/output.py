"""Exit statuses and output of the commands."""

import json
import os
import sys
from collections.abc import Iterable

DONE, FAILED, WRONG_ARGUMENTS, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit statuses; argparse uses that for wrong arguments, too."""


def print_line(line: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(line + "\n")


def printable_path(path: str) -> str:
    r"""Return a path in one line: control characters and undecodable bytes are escaped, as ``\x0a``."""
    return "".join(each if each.isprintable() else _escaped(each) for each in path)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def print_json(document: object) -> None:
    """Write one JSON document to stdout, in one line."""
    print_line(json.dumps(document))


def print_lines(lines: Iterable[str]) -> bool:
    """Write lines to stdout, and flush it; return False if its reader has ended, as ``head`` does."""
    try:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        return False
    return True


def print_error(line: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(error_line(line) + "\n")


def error_line(line: str) -> str:
    """Return a line for stderr."""
    return f"filestored: {line}"
