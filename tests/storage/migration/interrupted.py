"""Interrupted migrations: a small store with one corrupt file, and checks of its state."""

import os
from collections.abc import Set

from twisted.internet.defer import maybeDeferred

from filestored.digest import Digest
from filestored.errors import UnusableStore
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import SHARD_NAMES, prepare
from filestored.storage.disk.syscalls import DIRECTORY_FLAGS
from filestored.storage.store import Store
from tests.storage.contract import digest_of, files_below, read
from tests.storage.fault_injection import Fault
from tests.storage.migration.migrating import SHA256, UNFLUSHED, fill, spoil

CONTENTS = tuple(b"content %d" % number for number in range(5))
CORRUPT = digest_of(CONTENTS[2])
STEP = 1 if "FILESTORED_DEEP" in os.environ else 3
"""Distance of the calls at which a run is killed."""

COMMAND = "filestored migrate STORE --to sha256"
UNDO = "or undo it with --abandon instead of --to"


def read_record(place: str) -> bytes:
    with open(place + "/FORMAT", "rb") as file:
        return file.read()


def reset(place: str, record_before: bytes) -> None:
    """Reset the store of `filled`; keeps its 256 directories."""
    for name in (*files_below(place), "FORMAT"):
        os.unlink(f"{place}/{name}")
    if os.path.exists(place + "/aliases"):
        os.rmdir(place + "/aliases")
    with open(place + "/FORMAT", "wb") as file:
        file.write(record_before)
    fill(place, CONTENTS)
    spoil(place, CORRUPT)


class SparseFault(Fault):
    """A fault that skips all but two of the calls that open and list the shards."""

    def arm(self, at: int) -> None:
        super().arm(at)
        self.listings = 0

    def __call__(self, name, args):
        listing = name == "scandir" or (
            name == "open" and args[1] == DIRECTORY_FLAGS and args[0] in (".", *SHARD_NAMES)
        )
        self.listings += listing and self.at >= 0
        if not listing or self.listings <= 2:
            super().__call__(name, args)


def names_of(place: str) -> list[bytes]:
    """Return the contents with a name of either algorithm; fail for bytes under a wrong name."""
    found = set()
    for name in files_below(place):
        directory, _, file = name.partition("/")
        if directory in SHARD_NAMES and file != CORRUPT.hex:
            with open(f"{place}/{name}", "rb") as stored:
                data = stored.read()
            assert file in (digest_of(data).hex, digest_of(data, SHA256).hex)
            found.add(data)
    return sorted(found)


def serve(place: str) -> str:
    """Open the store as a daemon does; return its algorithm, or the refusal, which is one line."""
    try:
        own = prepare(place, calls=UNFLUSHED)
    except UnusableStore as error:
        refusal = f"the store {place} cannot be used: its migration is unfinished; finish it with {COMMAND}, "
        return "refused" if str(error) == refusal + UNDO else str(error)
    disk = DiskBackend(place, own, UNFLUSHED, reserve=0)
    good = [data for data in CONTENTS if digest_of(data) != CORRUPT]
    try:
        store = Store(disk, own, maybeDeferred)
        assert good == [read(disk, store._resolve(store.parse(digest_of(data).hex))) for data in good]
    finally:
        disk.close()
    return own.name


def is_moved(place: str, unreadable: Set[Digest] = frozenset()) -> None:
    """Fail unless the store is migrated, except for these unreadable files."""
    assert "sha256" == serve(place)
    named = {digest_of(data): digest_of(data, SHA256) for data in CONTENTS}
    expected = {new for old, new in named.items() if old not in {CORRUPT, *unreadable}} | unreadable
    kept = [name for name in files_below(place) if name.startswith("quarantine/") and ".reason" not in name]
    left = {name for name in files_below(place) if not name.startswith("quarantine/")}
    extra = {
        f"{new.shard}/{new}" for old, new in named.items() if old in unreadable
    }  # it may have both names
    assert {"aliases/md5", *(f"{each.shard}/{each}" for each in expected)} == left - extra
    quarantined = [] if CORRUPT in unreadable else [CORRUPT.hex]
    assert quarantined == [name.removeprefix("quarantine/").split(".")[0] for name in kept]


def ended_by(run) -> str | None:
    """Return the error message of a run; None for a complete one."""
    try:
        run()
    except UnusableStore as error:
        return str(error)
    return None
