"""Marker file that requests one removal of orphans, which one process claims.

`request_sweep` creates an empty file when the service starts. A process that finds and locks it (flock(2))
removes the orphans, then the marker (`claimed_sweep`). The kernel unlocks the marker of a process that dies;
another process takes over.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def request_sweep(path: str) -> None:
    """Create the marker `path`. Without a writable directory there is no marker and no run."""
    with suppress(OSError):
        os.close(os.open(path, _CREATE, 0o600))


@contextmanager
def claimed_sweep(path: str) -> Iterator[bool]:
    """Return whether the caller holds the marker `path`; remove it when the context succeeds.

    Raises `OSError` when the marker cannot be removed.
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
        return False  # no marker, or another process holds it
    return os.fstat(descriptor).st_nlink > 0
