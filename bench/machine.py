"""Description of the machine: hardware, date, and load."""

import os
import platform
from datetime import UTC, datetime

BUSY = 0.5
"""Load per core above which rates are not trusted."""


def machine() -> str:
    """The processor, how many cores, the memory, the kernel: one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    kernel = platform.release().partition("-")[0]
    return f"{_processor()}, {cores} cores, {memory:.0f} GiB, Linux {kernel}"


def date() -> str:
    """The date and time in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def load_warning() -> str:
    """Return the load of the last minute, and its meaning for the figures."""
    return describe_load(os.getloadavg()[0], len(os.sched_getaffinity(0)))


def describe_load(load: float, cores: int) -> str:
    """Return a sentence about a load on so many cores."""
    sentence = f"The load was {load:.1f} on {cores} cores before it began"
    if load <= BUSY * cores:
        return f"{sentence}."
    return f"{sentence}, so the machine was busy: trust the CPU columns, not the rates and their ratios."


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.machine()
