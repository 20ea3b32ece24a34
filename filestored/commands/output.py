"""Exit statuses and output of the commands."""

import json
import sys

DONE, FAILED, WRONG_ARGUMENTS, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit statuses; argparse uses that for wrong arguments, too."""


def print_line(line: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(line + "\n")


def print_json(document: object) -> None:
    """Write one JSON document to stdout, in one line."""
    print_line(json.dumps(document))


def print_error(line: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"filestored: {line}\n")
