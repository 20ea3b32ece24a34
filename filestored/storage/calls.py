"""The system calls that a store on disk makes, as one value.

The disk backend reaches the file system through this object alone (but for ``close``, which
changes nothing). By default each field is the function of `os` or `fcntl` with its name,
or one of `flush`.
Replacing a field is how it is proved what the store does when a call fails, or when the
process dies behind it; and that every call comes in the order that makes it safe.

Rejected: patching `os` in tests, which catches the calls of pytest, too.
"""

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from filestored.storage.flush import begin_write_back, syncfs


@dataclass(frozen=True, slots=True)
class Calls:
    """One function per system call; each is called, and raises `OSError`, as the original."""

    open: Callable[..., int] = os.open
    write: Callable[..., int] = os.write
    pread: Callable[..., bytes] = os.pread
    fstat: Callable[..., os.stat_result] = os.fstat
    stat: Callable[..., os.stat_result] = os.stat
    fstatvfs: Callable[..., os.statvfs_result] = os.fstatvfs
    scandir: Callable[..., Any] = os.scandir
    fchmod: Callable[..., None] = os.fchmod
    fsync: Callable[..., None] = os.fsync
    ftruncate: Callable[..., None] = os.ftruncate
    syncfs: Callable[[int], None] = syncfs
    begin_write_back: Callable[[int, int, int], None] = begin_write_back
    link: Callable[..., None] = os.link
    rename: Callable[..., None] = os.rename
    unlink: Callable[..., None] = os.unlink
    mkdir: Callable[..., None] = os.mkdir
    flock: Callable[..., None] = fcntl.flock
