"""Files that all servers serve: random, distinct, equal in each run.

They are written straight into a store's directories under their SHA-256, as filestored would have
done: so nginx, copyparty and twisted.web can serve the very same files from the very same directory,
and a million of them take a minute instead of ten. Nothing is flushed here; the caller does that
before anything is measured.
"""

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Kind:
    """Files of one size in bytes: how many there are, and their name in a table."""

    name: str
    size: int
    count: int

    def contents(self) -> Iterator[bytes]:
        """The bytes of each."""
        source = random.Random(self.size)
        for _ in range(self.count):
            yield source.randbytes(self.size)


FILE_KINDS = (
    Kind("4 KiB", 4 * KIB, 1000),
    Kind("64 KiB", 64 * KIB, 1000),
    Kind("1 MiB", MIB, 200),
    Kind("64 MiB", 64 * MIB, 4),
)
"""Kinds of files in the set."""


def write_files(store: str, contents: Iterator[bytes]) -> list[str]:
    """Write files into a store that `prepare` made; returns their digests."""
    shards = {f"{n:02x}": os.open(os.path.join(store, f"{n:02x}"), os.O_DIRECTORY) for n in range(256)}
    try:
        return [_write_file(shards, content) for content in contents]
    finally:
        for shard in shards.values():
            os.close(shard)


def add_empty_files(store: str, count: int) -> None:
    """Add so many empty files under random names, which are never requested."""
    source = random.Random(count)
    for _ in range(count):
        name = source.randbytes(32).hex()
        os.close(os.open(os.path.join(store, stored_path(name)), os.O_WRONLY | os.O_CREAT, 0o440))


def small_files(count: int, start: int = 0) -> Iterator[bytes]:
    """Distinct files of 4 KiB, which take no time to generate."""
    rest = random.Random(count).randbytes(4 * KIB - 16)
    for number in range(start, start + count):
        yield b"%016d" % number + rest


def stored_path(digest: str) -> str:
    """The path of a file below the directory of a store."""
    return f"{digest[:2]}/{digest}"


def _write_file(shards: dict[str, int], content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    file = os.open(digest, flags, 0o440, dir_fd=shards[digest[:2]])
    try:
        os.write(file, content)
    finally:
        os.close(file)
    return digest
