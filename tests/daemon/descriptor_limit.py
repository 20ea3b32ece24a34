"""Descriptor limit of a daemon, and the count of free descriptors."""

import os

MAX_DESCRIPTORS = 600
"""Descriptors of a process; the directories of its two stores use 512."""

LIMIT_DESCRIPTORS = ("sh", "-c", f'ulimit -n {MAX_DESCRIPTORS}; exec "$@"', "sh")
"""Command that runs a daemon with that limit."""


def serving_pids(daemon):
    """Return the process ids that accept connections."""
    return daemon.workers() or [daemon.pid]


def count_free_descriptors(daemon):
    """Return the sum of the free descriptors of these processes."""
    return sum(MAX_DESCRIPTORS - len(os.listdir(f"/proc/{pid}/fd")) for pid in serving_pids(daemon))
