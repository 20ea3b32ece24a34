"""A task that runs once for each start of the service, in one of its processes.

The service leaves a mark when it starts (`request`), an empty file in the directory that the task is about. A
process that finds the mark and gets its lock (`flock(2)`) does the task, and then removes the mark
(`claimed`). The kernel ends the lock of a process that dies; the mark stays for the process that replaces it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def request(path: str) -> None:
    """Leave the mark `path`. A file system that cannot take it, or has no such directory, gets no task."""
    with suppress(OSError):
        os.close(os.open(path, _CREATE, 0o600))


@contextmanager
def claimed(path: str) -> Iterator[bool]:
    """Whether the task of the mark `path` is for the caller. The mark goes if the context ends well.

    Raises `OSError` when the mark cannot be removed.
    """
    with ExitStack() as opened:
        is_claimed = _claim(path, opened)
        yield is_claimed
        if is_claimed:
            os.unlink(path)


def _claim(path: str, opened: ExitStack) -> bool:
    try:
        descriptor = os.open(path, _OPEN)
        opened.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # no mark, or another process is at it
    return os.fstat(descriptor).st_nlink > 0
