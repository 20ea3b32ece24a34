"""Priorities of log lines on stderr, if that is the journal of systemd (sd-daemon(3))."""

import os
from collections.abc import Mapping

JOURNAL_PREFIXES = {"DEBUG": "<7>", "INFO": "<6>", "WARNING": "<4>", "ERROR": "<3>", "CRITICAL": "<2>"}
"""Prefix of a line by its level; the journal removes it and stores it as the priority."""


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Return whether a descriptor leads to the journal: JOURNAL_STREAM names its device and inode."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
