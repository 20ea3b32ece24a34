"""Bytes to a descriptor, all of them: a file of the log, or a pipe to another process."""

import os


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however little a call takes. Raises `OSError`."""
    while data:
        data = data[os.write(descriptor, data) :]
