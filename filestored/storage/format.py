"""``FORMAT``: what a store on disk says about itself.

One small JSON object in the store's directory, written once when the store is made:
the number of the layout, the algorithm whose digests name the files, and a random id by
which copies of a store are told apart. It appears whole or not at all, and whoever links it
first has decided: everybody else reads it.
"""

import json
import os
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass

from filestored.errors import UnusableStore
from filestored.storage.scratch import Workshop

NAME = "FORMAT"
"""The name of the file."""

NUMBER = 1
"""The layout that this code reads and writes."""

_LIMIT = 4096
"""Bytes; nothing that long was written by us."""


@dataclass(frozen=True, slots=True)
class Format:
    """The contents of ``FORMAT``: layout number, hash algorithm, id of the store."""

    format: int
    hash: str
    id: str


def read(root: int) -> Format | None:
    """The format of the store whose directory is open as `root`; None when it has none yet.

    Raises `UnusableStore` when there is a ``FORMAT`` that this code does not understand.
    """
    try:
        descriptor = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        return _parse(file.read(_LIMIT))


def create(root: int, workshop: Workshop, hash_name: str) -> None:
    """Write ``FORMAT``, unless somebody was first. The caller flushes `root`. Raises `OSError`."""
    record = Format(NUMBER, hash_name, str(uuid.uuid4()))
    scratch = workshop.open()
    try:
        scratch.write(json.dumps(asdict(record)).encode() + b"\n")
        scratch.seal()
        with suppress(FileExistsError):
            scratch.link(NAME, root)
    finally:
        scratch.discard()


def _parse(text: bytes) -> Format:
    try:
        record = json.loads(text)
        number, hash_name, identity = record["format"], record["hash"], record["id"]
    except (ValueError, TypeError, LookupError):
        raise UnusableStore(f"its {NAME} file cannot be read; restore it from a copy") from None
    if number != NUMBER:
        raise UnusableStore(f"it has format {number!r}, and this version knows format {NUMBER} only")
    if not (isinstance(hash_name, str) and isinstance(identity, str)):
        raise UnusableStore(f"its {NAME} file cannot be read; restore it from a copy")
    return Format(NUMBER, hash_name, identity)
