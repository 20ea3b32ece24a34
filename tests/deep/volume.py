"""File systems of a proof's own: a small tmpfs, or ext4 or XFS on a loop device. Needs root."""

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.deep.bench import NotRunError

SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, and XFS's too: the file system is cut off from its device at once."""

NO_LOG_FLUSH = 2
"""The journal is not written out first, as in a power cut."""


def make_volume(kind: str, image: str, size: int, *options: str) -> None:
    """An image of an empty file system of `size` bytes; `kind` is ``ext4`` or ``xfs``.

    `options` are further ones of its mkfs.
    """
    if not shutil.which(f"mkfs.{kind}"):
        raise NotRunError(f"needs mkfs.{kind}")
    with open(image, "wb") as file:
        file.truncate(size)
    _run(f"mkfs.{kind}", "-q", "-F" if kind == "ext4" else "-f", *options, image)


@contextmanager
def mounted(source: list[str], directory: str) -> Iterator[None]:
    """Something mounted while the context lasts."""
    os.makedirs(directory, exist_ok=True)
    _run("mount", *source, directory)
    try:
        yield
    finally:
        _run("umount", directory)


def cut_power(directory: str) -> None:
    """Cut the file system at `directory` off: what has not reached its device never will."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(descriptor)


def _run(*command: str) -> None:
    if os.geteuid() != 0:
        raise NotRunError("needs root")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotRunError(f"{command[0]}: {done.stderr.strip()}")
