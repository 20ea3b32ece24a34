"""Stores to migrate: filled, migrated, and read by former and new names."""

import json
import os

from filestored.digest import Digest, algorithm
from filestored.errors import NotFound
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.migration.migrate import Summary, migrate
from filestored.storage.store import Store
from tests.storage.contract import MD5, digest_of, outcome, put

SHA256 = algorithm("sha256")
SHA512 = algorithm("sha512")
CONTENTS = (*(b"content %d" % number for number in range(8)), b"", b"x" * 3_000_000)
UNFLUSHED = Syscalls(fsync=lambda descriptor: None)
"""Calls that flush nothing: no test here cuts the power, and there are thousands of flushes."""


class ProgressRecorder:
    """Records the progress of a migration."""

    def __init__(self) -> None:
        self.expected: list[int] = []
        self.sizes: list[int] = []

    def expect(self, files: int) -> None:
        self.expected.append(files)

    def read(self, size: int) -> None:
        self.sizes.append(size)


def fill(place: str, contents=CONTENTS, own=MD5) -> None:
    """Create a closed store of these contents."""
    disk = DiskBackend(place, prepare(place, own.name, UNFLUSHED), UNFLUSHED, reserve=0)
    for data in contents:
        put(disk, data, digest_of(data, own))
    disk.close()


def move(place: str, to: str = "sha256", calls=UNFLUSHED) -> Summary:
    return migrate(place, to, ProgressRecorder(), calls)


def record(place: str) -> dict[str, object]:
    with open(place + "/FORMAT") as file:
        return json.load(file)


def path_of(place: str, digest: Digest) -> str:
    return f"{place}/{digest.shard}/{digest}"


def spoil(place: str, name: Digest, data: bytes = b"corrupt") -> None:
    """Corrupt the bytes of a file."""
    os.chmod(path_of(place, name), 0o600)
    with open(path_of(place, name), "wb") as file:
        file.write(data)


def content(store: Store, name: str) -> bytes | None:
    """Return the bytes of a file by a former or new name; None if not found."""
    blob = outcome(store.open(store.parse(name)))
    if isinstance(blob, NotFound):
        return None
    try:
        return os.pread(blob.fileno(), blob.size, 0)
    finally:
        blob.close()


def name_of(data: bytes, own=MD5) -> str:
    return digest_of(data, own).hex
