"""Who is at work in a directory: some things may only be done by somebody who is alone there.

Each process holds a shared lock (`flock`) on the directory's ``FORMAT`` for as long as it lives; the kernel
takes it away when the process dies. Whoever gets the exclusive lock as he arrives is alone, and whoever
arrives meanwhile waits.
"""

import fcntl
import os
from collections.abc import Callable

from filestored.storage.format import NAME
from filestored.storage.sink import READ_ONLY


def arrive(path: str, alone: Callable[[], object]) -> int:
    """Be at work in a directory; calls `alone` first if nobody else is. Blocking. Raises `OSError`.

    Returns a descriptor; to close it is to leave. Several processes that arrive together may each call
    `alone`, one after the other: flock(2) does not convert an exclusive lock to a shared one in one step.
    """
    descriptor = os.open(os.path.join(path, NAME), READ_ONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            alone()
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
