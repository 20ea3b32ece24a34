"""The twin of a durability test: the same daemon with one kind of flush gone.

``sitecustomize`` on its path replaces the flushes among the system calls of the store, as the seam for
tests allows; the product knows nothing of it. A check that the twin passes proves nothing.
"""

import os

from tests.daemon.running import ROOT


def without_flushes_of(kind: str, directory: str) -> dict[str, str]:
    """The environment of a daemon that doesn't flush what `kind` says: ``S_ISREG`` or ``S_ISDIR``.

    What replaces the flush is written to `directory`.
    """
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "sitecustomize.py"), "w", encoding="ascii") as file:
        file.write(_SITECUSTOMIZE.format(kind=kind))
    return {"PYTHONPATH": f"{directory}{os.pathsep}{ROOT}"}


_SITECUSTOMIZE = """
import dataclasses, os, stat
from filestored.storage.calls import Calls

def skipping(flush):
    def flush_unless(descriptor):
        if not stat.{kind}(os.fstat(descriptor).st_mode):
            return flush(descriptor)
    return flush_unless

initial = Calls.__init__
names = [field.name for field in dataclasses.fields(Calls)]
flushes = {{"fsync", "fdatasync", "syncfs"}}
initial.__defaults__ = tuple(
    skipping(call) if name in flushes else call for name, call in zip(names, initial.__defaults__)
)
"""
