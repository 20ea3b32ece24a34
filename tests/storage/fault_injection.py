"""Fault injection: an error or a crash before any system call of the disk backend."""

import os
from collections.abc import Callable
from typing import Any


class Fault:
    """Calls `do` before the call with the number `at`, counted since `arm`."""

    def __init__(self, do: Callable[[], None]) -> None:
        self.do = do
        self.at = self.count = -1
        self.struck = ""

    def arm(self, at: int) -> None:
        self.at, self.count, self.struck = at, 0, ""

    def __call__(self, name: str, args: tuple[Any, ...]) -> None:
        if self.at >= 0:
            self.count += 1
            if self.count == self.at + 1:
                self.struck = name
                self.do()

    def disarm(self) -> str:
        """Return the name of the call that was struck; empty if the operation has fewer calls."""
        self.at = -1
        return self.struck


def in_a_child(act: Callable[[], bool]) -> tuple[bool, bool]:
    """Run `act` in a child process; return whether the fault killed it, and whether it reported success."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if act() else 1)
        except BaseException:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9, status == 0


def descriptors() -> int:
    """Return the number of open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))
