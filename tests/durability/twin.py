"""The twin of a durability test: the same daemon with one kind of flush gone.

``sitecustomize`` on its path replaces the flushes among the system calls of the store, as the seam for
tests allows; the product knows nothing of it. A check that the twin passes proves nothing.
"""

import os

from tests.daemon.running import ROOT

MEDIA_TYPES = {
    "S_ISREG": "stat.S_ISREG(mode) and not is_format",
    "S_ISDIR": "stat.S_ISDIR(mode)",
    "FORMAT": "is_format",
}
"""Which flushes are gone: those of files, of directories, and the calls that confirm the latter."""


def without_flushes_of(kind: str, directory: str) -> dict[str, str]:
    """The environment of a daemon that doesn't flush what `kind` says, a key of `MEDIA_TYPES`.

    What replaces the flush is written to `directory`.
    """
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "sitecustomize.py"), "w", encoding="ascii") as file:
        file.write(_SITECUSTOMIZE.format(condition=MEDIA_TYPES[kind], kind=kind))
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
