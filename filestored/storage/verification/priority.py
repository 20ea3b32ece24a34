"""Lowest priority of a process: for the processor, and for disks whose scheduler knows priorities.

Each part is attempted; a container may forbid some.
"""

import ctypes
import os
from contextlib import suppress

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282, "armv7l": 314}
"""Numbers of the system call ioprio_set(2), which the C library does not have."""

_WHO_PROCESS = 1
_IDLE_CLASS = 3 << 13
_LOWEST_NICE = 19


def lower_priority() -> None:
    """Run this process, and threads that it starts, only while nothing else needs processor or disk."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST_NICE)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(
            ctypes.c_long(number), ctypes.c_int(_WHO_PROCESS), ctypes.c_int(0), ctypes.c_int(_IDLE_CLASS)
        )
