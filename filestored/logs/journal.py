"""Priorities of lines on stderr, if that is the journal of systemd (sd-daemon(3))."""

import os
from collections.abc import Mapping

JOURNAL_PREFIXES = {"DEBUG": "<7>", "INFO": "<6>", "WARNING": "<4>", "ERROR": "<3>", "CRITICAL": "<2>"}
"""Prefix of a line by its level; the journal removes it and stores it as the priority of syslog(3)."""


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Return whether a descriptor leads to the journal: JOURNAL_STREAM names its device and inode."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def prefix_lines(text: str, prefix: str) -> str:
    """Return a text with the prefix before each of its lines: the journal stores each as an entry."""
    return prefix + text.replace("\n", f"\n{prefix}")


def as_error(text: str) -> str:
    """Return a text for stderr, with the priority of an error if that is the journal."""
    return prefix_lines(text, JOURNAL_PREFIXES["ERROR"] if is_journal(2, os.environ) else "")
