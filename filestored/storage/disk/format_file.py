"""``FORMAT``: what a store on disk says about itself.

One small JSON object in the store's directory: the number of the layout, the algorithm whose
digests name the files, and a random id by which copies of a store are told apart. It is written
when the store is made; it appears whole or not at all, and whoever links it first has decided:
everybody else reads it.

Only a migration replaces it, twice: when it begins, with `moving_to`, the algorithm it leads to;
when it ends, with that as `hash`, and in `aliases` all algorithms of former names, in the order
in which they were left (see `aliases`). A layout without either has number 1, else it has
number 2, so that versions which know neither leave such a store alone.
"""

import json
import os
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass

from filestored.errors import UnusableStore
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.disk.temp_files import TempFile, TempFiles

NAME = "FORMAT"
"""The name of the file."""

VERSIONS = (1, 2)
"""The layouts that this code reads and writes."""

_NEXT = ".FORMAT-next"
"""What is to replace it, for a moment."""

_MAX_BYTES = 4096
"""Bytes; nothing that long was written by us."""


@dataclass(frozen=True, slots=True)
class StoreFormat:
    """The contents of ``FORMAT``: algorithm, id, algorithms of former names, the one it is moved to."""

    hash: str
    id: str
    aliases: tuple[str, ...] = ()
    moving_to: str | None = None

    @property
    def format(self) -> int:
        """The number of the layout."""
        return 2 if self.aliases or self.moving_to else 1

    def to_json(self) -> bytes:
        """One line; what says nothing is left out."""
        fields = {name: value for name, value in asdict(self).items() if value}
        return json.dumps({"format": self.format, **fields}).encode() + b"\n"


def read(root: int, name: str = NAME) -> StoreFormat | None:
    """The format of the store whose directory is open as `root`; None when it has none yet.

    Raises `UnusableStore` when there is a ``FORMAT`` that this code does not understand.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        return _parse(file.read(_MAX_BYTES))


def create(root: int, temp_files: TempFiles, hash_name: str) -> None:
    """Write ``FORMAT``, unless somebody was first. The caller flushes `root`. Raises `OSError`."""
    temp_file = _write_temp(StoreFormat(hash_name, str(uuid.uuid4())), temp_files)
    try:
        with suppress(FileExistsError):
            temp_file.link(NAME, root)
    finally:
        temp_file.discard()


def announce(root: int, temp_files: TempFiles, record: StoreFormat, calls: Syscalls) -> None:
    """Write `record` to the file that `replace` renames, so that it needs no space. Raises `OSError`."""
    with suppress(FileNotFoundError):
        calls.unlink(_NEXT, dir_fd=root)
    temp_file = _write_temp(record, temp_files)
    try:
        temp_file.link(_NEXT, root)
    finally:
        temp_file.discard()


def replace(root: int, temp_files: TempFiles, record: StoreFormat, calls: Syscalls) -> None:
    """Put `record` in the place of ``FORMAT``. The caller is alone there, and flushes `root`.

    Raises `OSError`.
    """
    if _read_prepared(root) != record:
        announce(root, temp_files, record, calls)
    calls.rename(_NEXT, NAME, src_dir_fd=root, dst_dir_fd=root)


def _read_prepared(root: int) -> StoreFormat | None:
    """The contents of the file that `announce` has written, None when it is of no use."""
    try:
        return read(root, _NEXT)
    except (UnusableStore, OSError):
        return None


def _write_temp(record: StoreFormat, temp_files: TempFiles) -> TempFile:
    temp_file = temp_files.open()
    try:
        temp_file.write(record.to_json())
        temp_file.seal()
    except BaseException:
        temp_file.discard()
        raise
    return temp_file


def _parse(text: bytes) -> StoreFormat:
    try:
        record = json.loads(text)
        number, hash_name, identity = record["format"], record["hash"], record["id"]
        aliases, moving_to = record.get("aliases", []), record.get("moving_to")
    except (ValueError, TypeError, LookupError, AttributeError):
        raise _unreadable() from None
    if number not in VERSIONS:
        raise UnusableStore(f"it has format {number!r}, and this version knows formats 1 and 2 only")
    if not (isinstance(hash_name, str) and isinstance(identity, str) and isinstance(moving_to, str | None)):
        raise _unreadable()
    if not (isinstance(aliases, list) and all(isinstance(name, str) for name in aliases)):
        raise _unreadable()
    return StoreFormat(hash_name, identity, tuple(aliases), moving_to)


def _unreadable() -> UnusableStore:
    return UnusableStore(f"its {NAME} file cannot be read; restore it from a copy")
