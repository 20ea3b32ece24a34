"""``FORMAT`` file of a store: layout version, hash algorithm, and a random id.

It is one JSON object, written when the store is created. It appears as a whole or not at all; the first
process to link it decides, and others read it.

Only a migration replaces it, twice: at its start, with the new algorithm in `moving_to`; at its end, with
that as `hash`, and all former algorithms in `aliases`, in order. A layout with either has version 2, else 1,
so that older releases refuse such a store.
"""

import json
import os
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass

from filestored.errors import UnusableStore
from filestored.storage.disk.syscalls import FILE_FLAGS, Syscalls
from filestored.storage.disk.temp_files import TempFiles

NAME = "FORMAT"

VERSIONS = (1, 2)
"""Layout versions that this release reads and writes."""

_NEXT = ".FORMAT-next"
_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class StoreFormat:
    """Contents of ``FORMAT``: algorithm, id, former algorithms, target of a migration."""

    hash: str
    id: str
    aliases: tuple[str, ...] = ()
    moving_to: str | None = None

    @property
    def version(self) -> int:
        """Return the layout version."""
        return 2 if self.aliases or self.moving_to else 1

    def to_json(self) -> bytes:
        """Return one line of JSON, without empty fields."""
        fields = {name: value for name, value in asdict(self).items() if value}
        return json.dumps({"format": self.version, **fields}).encode() + b"\n"


def required(found: StoreFormat | None) -> StoreFormat:
    """Return the format of a store that a command names. Raises `UnusableStore` if it has none."""
    if found is None:
        raise UnusableStore(f"there is no {NAME}; name the --store of a daemon")
    return found


def read(root: int, name: str = NAME) -> StoreFormat | None:
    """Return the format of the store open as `root`; None if missing. Raises `UnusableStore` if invalid."""
    try:
        descriptor = os.open(name, FILE_FLAGS, dir_fd=root)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        return parse(file.read(_MAX_BYTES))


def create(root: int, temp_files: TempFiles, hash_name: str) -> None:
    """Create ``FORMAT``, unless it exists. The caller flushes `root`. Raises `OSError`."""
    record = StoreFormat(hash_name, str(uuid.uuid4()))
    with temp_files.sealed(record.to_json()) as temp_file, suppress(FileExistsError):
        temp_file.link(NAME, root)


def prepare_replacement(root: int, temp_files: TempFiles, record: StoreFormat, calls: Syscalls) -> None:
    """Write the replacement that `replace` renames, so that `replace` needs no space. Raises `OSError`."""
    with suppress(FileNotFoundError):
        calls.unlink(_NEXT, dir_fd=root)
    with temp_files.sealed(record.to_json()) as temp_file:
        temp_file.link(_NEXT, root)


def replace(root: int, temp_files: TempFiles, record: StoreFormat, calls: Syscalls) -> None:
    """Replace ``FORMAT``. The caller holds the exclusive lock, and flushes `root`. Raises `OSError`."""
    if _read_prepared(root) != record:
        prepare_replacement(root, temp_files, record, calls)
    calls.rename(_NEXT, NAME, src_dir_fd=root, dst_dir_fd=root)


def _read_prepared(root: int) -> StoreFormat | None:
    """Return the prepared replacement; None if missing or invalid."""
    try:
        return read(root, _NEXT)
    except (UnusableStore, OSError):
        return None


def parse(text: bytes) -> StoreFormat:
    """Parse the contents of ``FORMAT``. Raises `UnusableStore`."""
    try:
        record = json.loads(text)
        number, hash_name, identity = record["format"], record["hash"], record["id"]
        aliases, moving_to = record.get("aliases", []), record.get("moving_to")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise _unreadable() from None
    if number not in VERSIONS:
        raise UnusableStore(
            f"it has format {number!r}, and this version knows formats 1 and 2; install a newer one"
        )
    if not (isinstance(hash_name, str) and isinstance(identity, str) and isinstance(moving_to, str | None)):
        raise _unreadable()
    if not (isinstance(aliases, list) and all(isinstance(name, str) for name in aliases)):
        raise _unreadable()
    return StoreFormat(hash_name, identity, tuple(aliases), moving_to)


def _unreadable() -> UnusableStore:
    return UnusableStore(f"its {NAME} file cannot be read; restore it from a copy")
