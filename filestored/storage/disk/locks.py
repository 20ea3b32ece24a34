"""Who uses a store: any number of processes that serve it, or one that moves it to another algorithm.

Whoever serves holds a shared lock (`flock(2)`) on the store's directory, whoever moves it an exclusive
one; the kernel takes it back when a process ends, however it ends. Nobody waits: to find the store taken
is a refusal.

The lock is on the directory because it stays; ``FORMAT`` is replaced by a migration. Only under the lock
does ``FORMAT`` hold still, so whoever has read it before reads it again here.
"""

import fcntl

from filestored.errors import UnusableStore
from filestored.storage.disk import format_file
from filestored.storage.disk.syscalls import Syscalls


def lock_shared(root: int, hash_name: str, calls: Syscalls) -> format_file.StoreFormat:
    """Use the store that is open as `root` along with others, as one whose files `hash_name` names.

    Raises `UnusableStore` when it is being moved, or has been since it was looked at.
    """
    try:
        calls.flock(root, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UnusableStore("it is being migrated right now; start again when that is done") from None
    found = format_file.read(root)
    if found is None or found.hash != hash_name or found.moving_to:
        raise UnusableStore("it has just been migrated; start again")
    return found


def lock_exclusive(root: int, calls: Syscalls) -> None:
    """Be the only one who uses the store that is open as `root`. Raises `UnusableStore` if one is not."""
    try:
        calls.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UnusableStore("a daemon serves it, or another migration is at work; stop that first") from None
