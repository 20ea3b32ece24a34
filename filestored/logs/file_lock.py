"""Advisory lock of a log file (flock(2)), which is awaited for a bounded time.

Every user who may read a file can lock it, as ``flock`` does. So no writer waits for a lock without a bound.
"""

import fcntl
import time

MAX_TRIES = 100
"""Maximum number of tries, a millisecond apart."""


def lock(descriptor: int, operation: int, tries: int = MAX_TRIES) -> bool:
    """Lock a file with LOCK_EX or LOCK_SH; return whether that is done. Raises `OSError` without locks."""
    for left in reversed(range(tries)):
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.001 if left else 0.0)
    return False
