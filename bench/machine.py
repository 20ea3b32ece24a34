"""What a figure must never travel without: the machine, the date, and how busy it was."""

import os
import platform
from datetime import UTC, datetime


def machine() -> str:
    """The processor, how many cores, the memory, the kernel: one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, {memory:.0f} GiB, Linux {platform.release()}"


def date() -> str:
    """Today, as it is in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def load() -> str:
    """How many processes wanted to run, on average, over the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.machine()
