"""Idle priority of a process: processor time and disk time that no other process wants.

Set by processes that read a whole store beside a daemon. Threads and child processes that are started later
inherit it. Each setting is a hint: a kernel or a container that refuses one is no error.
"""

import ctypes
import os
import platform
from contextlib import suppress

NICE = 19
"""Nice value, for kernels without SCHED_IDLE."""

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
"""Numbers of the system call ioprio_set(2), for which the C library has no function, by machine."""

_IOPRIO_WHO_PROCESS = 1
_IOPRIO_IDLE = 3 << 13


def use_idle_priority(process: int = 0) -> None:
    """Give this thread, or the first one of a process, the idle classes of the scheduler and of the disk.

    Threads and processes that it starts afterwards have them, too.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process, NICE)
    with suppress(OSError):
        os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0))
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        value = ctypes.c_int(_IOPRIO_IDLE)
        ctypes.CDLL(None).syscall(
            ctypes.c_long(number), ctypes.c_int(_IOPRIO_WHO_PROCESS), ctypes.c_int(process), value
        )
