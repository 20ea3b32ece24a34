"""Faults in the system calls of a process that runs, put there by strace."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.daemon.running import read, until


@contextmanager
def injected(pid: int, calls: str, fault: str, path: str | None = None) -> Iterator[None]:
    """Apply a fault, see "inject" in strace(1), to these system calls of a process and all its threads.

    With `path`, only to calls that work on that file.
    """
    only = ["-P", path] if path else []
    expressions = ["-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]
    strace = subprocess.Popen(["strace", "-f", "-qq", "-o", os.devnull, *only, *expressions, "-p", str(pid)])
    try:
        until(lambda: _traced(pid), "strace is attached to all threads")
        yield
    finally:
        strace.terminate()
        strace.wait()


def _traced(pid: int) -> bool:
    threads = os.listdir(f"/proc/{pid}/task")
    return all("TracerPid:\t0\n" not in read(f"/proc/{pid}/task/{each}/status") for each in threads)
