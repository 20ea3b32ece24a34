"""Daemon without one kind of flush: a durability check that it passes proves nothing.

``sitecustomize`` on its path replaces the flushes in `Syscalls`, the seam for tests; the product is
unchanged.
"""

import os

from tests.daemon.running import ROOT

KINDS = {
    "S_ISREG": "stat.S_ISREG(mode) and not is_format",
    "S_ISDIR": "stat.S_ISDIR(mode)",
    "FORMAT": "is_format",
}
"""Removed flushes: those of files, of directories, and the calls that confirm the latter."""


def without_flushes_of(kind: str, directory: str) -> dict[str, str]:
    """Return the environment of a daemon without the flushes of `kind`, a key of `KINDS`.

    The replacement of the flush is written to `directory`.
    """
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "sitecustomize.py"), "w", encoding="ascii") as file:
        file.write(_SITECUSTOMIZE.format(condition=KINDS[kind], kind=kind))
    return {"PYTHONPATH": f"{directory}{os.pathsep}{ROOT}"}


_SITECUSTOMIZE = """
import dataclasses, os, stat
from filestored.storage.disk.syscalls import Syscalls

def skipping(flush):
    def flush_unless(descriptor, *more):
        mode = os.fstat(descriptor).st_mode
        is_format = os.readlink(f"/proc/self/fd/{{descriptor}}").endswith("/FORMAT")
        if not ({condition}):
            return flush(descriptor, *more)
    return flush_unless

initial = Syscalls.__init__
names = [field.name for field in dataclasses.fields(Syscalls)]
flushes = {{"fsync", "fdatasync", "syncfs"}} | ({{"pread"}} if {kind!r} == "FORMAT" else set())
initial.__defaults__ = tuple(
    skipping(call) if name in flushes else call for name, call in zip(names, initial.__defaults__)
)
"""
