"""A process and its descendants as the kernel counts them: CPU time, memory now, memory at its peak.

From ``/proc``, see proc(5): ``utime`` and ``stime`` are those of all threads, also of those that have ended.
Memory is the resident set; pages of files that are merely mapped count, the page cache and the buffers
of sockets do not. Of several processes the sum is taken, which counts shared pages once for each.
"""

import os
from contextlib import suppress

_TICK = os.sysconf("SC_CLK_TCK")


class ProcessTree:
    """A process and all that descend from it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def pids(self) -> list[int]:
        """The process ids, parents first."""
        found = [self.pid]
        for pid in found:
            found.extend(_children(pid))
        return found

    def cpu(self) -> float:
        """Seconds of CPU that they have used so far, in user and kernel mode."""
        return sum(_ticks(pid) for pid in self.pids()) / _TICK

    def resident(self) -> int:
        """Bytes of memory they hold now."""
        return sum(self.each())

    def each(self) -> list[int]:
        """Bytes of memory that each of them holds now, parents first."""
        return [_status(pid, "VmRSS") for pid in self.pids()]

    def peak(self) -> int:
        """Bytes of memory at the highest, of each by itself, since its start or `reset_peak`."""
        return sum(_status(pid, "VmHWM") for pid in self.pids())

    def reset_peak(self) -> None:
        """Reset the peak memory to what is resident now."""
        for pid in self.pids():
            with open(f"/proc/{pid}/clear_refs", "w") as file:
                file.write("5")


def memory(pid: int) -> tuple[int, int]:
    """Return the bytes of anonymous memory and of mapped files that are resident in one process."""
    return _status(pid, "RssAnon"), _status(pid, "RssFile")


def _children(pid: int) -> list[int]:
    return [int(word) for word in _read(f"/proc/{pid}/task/{pid}/children").split()]


def _ticks(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if fields else 0


def _status(pid: int, name: str) -> int:
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: str) -> str:
    with suppress(FileNotFoundError, ProcessLookupError), open(path) as file:
        return file.read()
    return ""
