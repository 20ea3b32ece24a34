"""Number of usable processors: CPU affinity, and the CPU quota of a container (``cpu.max`` of cgroup v2).

A quota is that of the process's control group or of any group above it; the smallest counts, rounded up.
Files that are missing or have another form mean no quota.
"""

import math
import os
from collections.abc import Callable
from itertools import accumulate

CGROUP_ROOT = "/sys/fs/cgroup"
"""Mount point of cgroup v2; a container sees its own group there."""


def usable_processors() -> int:
    """Return the number of processors that this process may use, at least 1."""
    return limited_by_quota(len(os.sched_getaffinity(0)), _read)


def limited_by_quota(count: int, read: Callable[[str], str]) -> int:
    """Return `count`, or the CPU quota if that is less.

    `read` returns the text of a file, or raises `OSError`.
    """
    return max(1, min([count, *(math.ceil(quota) for quota in _quotas(read))]))


def _quotas(read: Callable[[str], str]) -> list[float]:
    """Return the quotas of the group and of those above it, in processors."""
    try:
        groups = read("/proc/self/cgroup")
    except OSError:
        groups = ""
    path = next((line.removeprefix("0::") for line in groups.splitlines() if line.startswith("0::")), "/")
    names = [name for name in path.split("/") if name]
    quotas = []
    for directory in accumulate(["", *names], lambda above, name: f"{above}/{name}"):
        try:
            quotas.append(_parse(read(f"{CGROUP_ROOT}{directory}/cpu.max")))
        except (OSError, ValueError):
            continue  # the topmost group has no such file, and "max" is no number
    return quotas


def _parse(text: str) -> float:
    """Return microseconds of quota over those of the period. Raises `ValueError`."""
    quota, period = text.split()
    if int(quota) <= 0 or int(period) <= 0:
        raise ValueError(text)
    return int(quota) / int(period)


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()
