"""Advisory locks (flock(2)) on a store directory: shared while it is served, exclusive while it is migrated.

The kernel releases a lock when its process ends. No process waits: a locked store is an error. The lock is on
the directory, because a migration replaces ``FORMAT``. ``FORMAT`` is read again under the lock.
"""

import fcntl

from filestored.errors import UnusableStore
from filestored.storage.disk import format_file
from filestored.storage.disk.syscalls import Syscalls


def lock_shared(root: int, hash_name: str, calls: Syscalls) -> format_file.StoreFormat:
    """Lock the store open as `root` for serving; return its format. Raises `UnusableStore`."""
    try:
        calls.flock(root, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UnusableStore("it is being migrated right now; start again when that is done") from None
    found = format_file.read(root)
    if found is None or found.hash != hash_name or found.moving_to:
        raise UnusableStore("it has just been migrated; start again")
    return found


def lock_exclusive(root: int, calls: Syscalls) -> None:
    """Lock the store open as `root` for a migration. Raises `UnusableStore` while it is in use."""
    try:
        calls.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UnusableStore("a daemon serves it, or another migration is at work; stop that first") from None
