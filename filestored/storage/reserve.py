"""Reserve: free space of a file system that uploads leave to others (``--reserve``).

The default is 256 MiB, or 5 % of the file system if that is less, so that a small volume can be filled, too.
"""

import os

MAX_DEFAULT_BYTES = 256 * 1024 * 1024
"""Maximum of the default reserve."""

DEFAULT_PERCENT = 5
"""Share of a small file system that is its default reserve."""


def reserved_bytes(space: os.statvfs_result, reserve: int | None) -> int:
    """Return `reserve`, or the default for this file system if that is None."""
    if reserve is not None:
        return reserve
    return min(MAX_DEFAULT_BYTES, space.f_blocks * space.f_frsize * DEFAULT_PERCENT // 100)


def free_bytes(space: os.statvfs_result, reserve: int | None) -> int:
    """Return the free space less the reserve; 0 without free inodes."""
    if space.f_files and not space.f_favail:
        return 0
    return max(0, space.f_bavail * space.f_frsize - reserved_bytes(space, reserve))
