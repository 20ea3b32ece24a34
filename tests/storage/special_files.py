"""Non-regular files, created under names of regular files."""

import os
import socket

KINDS = ("symlink", "dangling symlink", "fifo", "directory", "socket")


def plant(kind: str, path: str) -> None:
    """Create a file of this kind at `path`."""
    if kind == "symlink":
        os.symlink("/etc/passwd", path)
    elif kind == "dangling symlink":
        os.symlink("/nowhere", path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    else:
        here = os.getcwd()
        os.chdir(os.path.dirname(path))  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.basename(path))
        os.chdir(here)
