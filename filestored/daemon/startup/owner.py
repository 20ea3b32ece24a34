"""Privileges of a command that root starts: those of the owner of the directory on which it works."""

import os


def become_owner(directory: str) -> None:
    """Give up the privileges of root for those of the directory's owner."""
    status = os.stat(directory)
    if os.geteuid() == 0 and status.st_uid != 0:
        os.setgroups([])
        os.setgid(status.st_gid)
        os.setuid(status.st_uid)
