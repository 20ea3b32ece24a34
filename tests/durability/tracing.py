"""Tracing of a real daemon with strace: its system calls in order.

In: the output of strace. Out: `Call` values, each with the positions of its begin and its return. "A before
B" means that A had returned when B began. Descriptors are printed with paths (``strace -y``).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

CALLS = "pread64,fsync,fdatasync,syncfs,linkat,unlinkat,unlink,write,writev,sendto,sendmsg,fchmod"
"""Traced calls: flushes, names, and all that can carry a reply."""


@dataclass
class Call:
    """A system call that has returned."""

    name: str
    args: str
    result: int
    began: int
    ended: int


def strace(path: str) -> tuple[str, ...]:
    """Return the command that runs a program and writes its calls to `path`."""
    return ("strace", "-f", "-y", "-qq", "-s", "40", "--signal=none", "-e", f"trace={CALLS}", "-o", path)


def read_calls(path: str) -> list[Call]:
    """Return all calls in the file in the order of their return."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return list(_parse(file.read().splitlines()))


def _parse(lines: list[str]) -> Iterator[Call]:
    started: dict[str, tuple[str, int]] = {}
    for position, line in enumerate(lines):
        thread, _, text = line.partition(" ")
        text = text.strip()
        began = position
        if match := _UNFINISHED.match(text):
            started[thread] = match[1], position
            continue
        if match := _RESUMED.match(text):
            start, began = started.pop(thread)
            text = start + match[1]
        if match := _WHOLE.match(text):
            yield Call(match[1], match[2], int(match[3]), began, position)


_UNFINISHED = re.compile(r"(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)$")
_WHOLE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
