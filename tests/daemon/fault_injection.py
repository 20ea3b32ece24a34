"""Faults that strace(1) injects into the system calls of a running process."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.daemon_process import read, until

FLUSHES = "fsync,fdatasync,syncfs"


@contextmanager
def injected(pid: int, calls: str, fault: str, *paths: str, output: str = os.devnull) -> Iterator[None]:
    """Apply a fault, see "inject" in strace(1), to these system calls of a process and all its threads.

    With `paths`, only to calls that name exactly one of them, or a descriptor of it. strace writes the calls
    to `output`. At the end of the context calls that are delayed go on at once.
    """
    only = [word for path in paths for word in ("-P", path)]
    words = [
        "strace",
        "-f",
        "-y",
        "-qq",
        "-o",
        output,
        *only,
        "-e",
        f"inject={calls}:{fault}",
        "-p",
        str(pid),
    ]
    with subprocess.Popen(words) as tracer:
        try:
            until(lambda: _is_traced(pid), "strace is attached to all threads")
            yield
        finally:
            tracer.kill()  # at SIGTERM it would wait for the delays


def delayed(pid: int, calls: str, seconds: float, output: str, *paths: str) -> AbstractContextManager[None]:
    """Delay these calls by so many seconds; see `injected`."""
    return injected(pid, calls, f"delay_enter={int(seconds * 1_000_000)}", *paths, output=output)


def _is_traced(pid: int) -> bool:
    threads = os.listdir(f"/proc/{pid}/task")
    return all("TracerPid:\t0\n" not in read(f"/proc/{pid}/task/{each}/status") for each in threads)
