"""A migration dies before each of its calls, and each of its calls fails; the next run ends it.

The store is small and every batch is of two files, so that each step of the way is there. No test cuts the
power: that names are durable in time is shown by the order of the flushes.
"""

import dataclasses
import errno
import os
import stat
from collections.abc import Set

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.digest import Digest, algorithm
from filestored.errors import NotFound, UnusableStore
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import SHARD_NAMES, prepare
from filestored.storage.disk.syscalls import DIRECTORY_FLAGS
from filestored.storage.migration import migrate as migration
from filestored.storage.migration.migrate import Summary
from filestored.storage.store import Store
from tests.storage.contract import MD5, digest_of, files_below, outcome, read, watched, without_tmpfile
from tests.storage.test_storage_faults import Fault, descriptors, in_a_child
from tests.storage.test_storage_migration import SHA256, UNFLUSHED, fill, move, path_of, record, spoil

pytestmark = pytest.mark.slow

CONTENTS = tuple(b"content %d" % number for number in range(5))
CORRUPT = digest_of(CONTENTS[2])
COMMAND = "filestored migrate STORE --to sha256"
UNDO = "or undo it with --abandon instead of --to"


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(migration, "BATCH_FILES", 2)


@pytest.fixture
def filled(place):
    """A store with one rotten file."""
    fill(place, CONTENTS)
    spoil(place, CORRUPT)
    return place


def read_record(place: str) -> bytes:
    with open(place + "/FORMAT", "rb") as file:
        return file.read()


def begin_again(place: str, record_before: bytes) -> None:
    """The store of `filled` again, without making its 256 directories again."""
    for name in (*files_below(place), "FORMAT"):
        os.unlink(f"{place}/{name}")
    if os.path.exists(place + "/aliases"):
        os.rmdir(place + "/aliases")
    with open(place + "/FORMAT", "wb") as file:
        file.write(record_before)
    fill(place, CONTENTS)
    spoil(place, CORRUPT)


class Few(Fault):
    """A fault that strikes only twice among the thousands of calls that open and list the shards."""

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
    """The contents that have a durable name of either algorithm; fails for bytes under a wrong name."""
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
    """What a daemon makes of the store: the algorithm that it serves, or its refusal, which is one line."""
    try:
        own = prepare(place, calls=UNFLUSHED)
    except UnusableStore as error:
        refusal = f"the store {place} cannot be used: its migration is unfinished; finish it with {COMMAND}, "
        return "refused" if str(error) == refusal + UNDO else str(error)
    disk = DiskBackend(place, own, UNFLUSHED, reserve=0)
    good = [data for data in CONTENTS if digest_of(data) != CORRUPT]
    try:
        store = Store(disk, own, maybeDeferred)
        assert good == [read(disk, store._current(store.parse(digest_of(data).hex))) for data in good]
    finally:
        disk.close()
    return own.name


def is_moved(place: str, unreadable: Set[Digest] = frozenset()) -> None:
    """Fail unless the store is what a migration makes of it that could not read these files."""
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
    """The line with which a run ends, None for one that comes to its end."""
    try:
        run()
    except UnusableStore as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", ["O_TMPFILE", "named"])
def test_a_death_before_any_call_loses_nothing_and_the_next_run_goes_on(filled, kind):
    place, record_before = filled, read_record(filled)
    good = sorted(data for data in CONTENTS if digest_of(data) != CORRUPT)
    number, died, states = 0, True, []
    while died:
        begin_again(filled, record_before)
        fault = Few(lambda: os._exit(9))

        def act(fault: Fault = fault, place: str = place, number: int = number) -> bool:
            fault.arm(number)
            return move(
                place, calls=watched(fault, without_tmpfile(UNFLUSHED) if kind == "named" else UNFLUSHED)
            ) == Summary(4, (CORRUPT,))

        died, _ = in_a_child(act)
        assert good == names_of(place)
        states.append(serve(place))
        # Only when it had died behind the last step is there nothing left to tell of.
        assert move(place) in (Summary(4, (CORRUPT,)), Summary())
        is_moved(place)
        number += 1
    assert ["md5", "refused", "sha256"] == sorted(set(states), key=states.index)


def test_a_call_that_fails_ends_the_run_with_one_line_and_the_next_run_goes_on(filled):
    place, record_before = filled, read_record(filled)
    good = sorted(data for data in CONTENTS if digest_of(data) != CORRUPT)
    number, struck = 0, "yes"

    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    while struck:
        begin_again(filled, record_before)
        fault, held = Few(fail), descriptors()
        fault.arm(number)
        ended: list[Summary] = []

        def run(place=place, fault=fault, ended=ended) -> None:
            ended.append(move(place, calls=watched(fault, UNFLUSHED)))

        line = ended_by(run)
        assert line is None or (place in line and line.endswith(os.strerror(errno.EIO)))
        struck = fault.disarm()
        assert held == descriptors()
        assert good == names_of(place)
        unreadable = {name for summary in ended for name in summary.unreadable}
        assert move(place) in (Summary(4, (CORRUPT,)), Summary())
        is_moved(place, unreadable)
        number += 1
    assert number > 50


def test_a_run_that_goes_on_reads_nothing_again_that_was_noted(filled):
    read_before, read_after = [], []

    def die_late(name, args):
        if name == "pread" and args[1] == 1024 * 1024:
            read_before.append(os.readlink(f"/proc/self/fd/{args[0]}"))
        if name == "rename" and args[0] == "md5.unfinished":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def note(name, args):
        if name == "pread" and args[1] == 1024 * 1024:
            read_after.append(os.readlink(f"/proc/self/fd/{args[0]}"))

    with pytest.raises(UnusableStore):
        move(filled, calls=watched(die_late, UNFLUSHED))
    assert len(CONTENTS) == len(set(read_before))
    assert move(filled, calls=watched(note, UNFLUSHED)) == Summary(4, (CORRUPT,))
    assert [] == read_after


@pytest.mark.parametrize(
    "tail", [b"5", b"0" * 98, b"f" * 32 + b" " + b"0" * 64, b"\0" * 98, b"0" * 32 + b" " + b"0" * 64 + b"\n"]
)
def test_a_torn_end_of_the_journal_is_cut_off(filled, tail):
    def die(name, args):
        if name == "rename" and args[0] == "md5.unfinished":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(UnusableStore):
        move(filled, calls=watched(die, UNFLUSHED))
    os.chmod(filled + "/aliases/md5.unfinished", 0o600)
    with open(filled + "/aliases/md5.unfinished", "ab") as file:
        file.write(tail)
    assert move(filled) == Summary(4, (CORRUPT,))
    is_moved(filled)


def test_a_forgotten_journal_does_not_speak_for_a_store_that_has_not_begun_to_move(filled):
    os.mkdir(filled + "/aliases", 0o700)
    for name in ("md5", "md5.unfinished"):
        with open(f"{filled}/aliases/{name}", "w") as file:
            file.write(f"{'f' * 32} {'0' * 64}\n")
    assert move(filled) == Summary(4, (CORRUPT,))
    is_moved(filled)


def test_an_unfinished_migration_is_finished_by_the_same_command_only(filled):
    def die(name, args):
        if name == "unlink" and args[0] == digest_of(CONTENTS[0]).hex:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(UnusableStore):
        move(filled, calls=watched(die, UNFLUSHED))
    assert ("md5", "sha256") == (record(filled)["hash"], record(filled)["moving_to"])
    for to in ("md5", "sha512"):
        with pytest.raises(UnusableStore, match="its migration to sha256 is unfinished; finish that first"):
            move(filled, to)
    assert "refused" == serve(filled)
    assert move(filled) == Summary(4, (CORRUPT,))


def test_a_new_name_that_was_lost_is_given_again_before_the_old_one_is_taken(filled):
    new = digest_of(CONTENTS[0], SHA256)

    def steal(name, args):
        if name == "rename" and args[0] == "md5.unfinished":
            os.unlink(path_of(filled, new))

    assert move(filled, calls=watched(steal, UNFLUSHED)) == Summary(4, (CORRUPT,))
    is_moved(filled)


def test_an_old_name_stays_when_the_new_one_is_lost_and_the_bytes_have_rotted(filled):
    old, new = (digest_of(CONTENTS[0], own) for own in (MD5, SHA256))

    def steal(name, args):
        if name == "rename" and args[0] == "md5.unfinished":
            os.unlink(path_of(filled, new))
            spoil(filled, old)

    with pytest.raises(UnusableStore, match=f"{new.shard}/{new} should be the file"):
        move(filled, calls=watched(steal, UNFLUSHED))
    assert os.path.exists(path_of(filled, old))


# --- the order of the flushes ----------------------------------------------------------------


def diary(place: str, forget: str = "") -> list[str]:
    """What a migration of one batch does, in order; a build that forgets the flush of `forget`."""
    log: list[str] = []

    def note(name, args):
        if name == "fsync":
            log.append("flush " + kind_of(args[0], place))
        elif name in ("link", "rename", "unlink", "write"):
            target = str(args[1] if name in ("link", "rename") else args[0])
            log.append(f"{name} {kind_of(args[0], place) if name == 'write' else _sort(target)}")

    def fsync(descriptor: int) -> None:
        if kind_of(descriptor, place) != forget:
            note("fsync", (descriptor,))

    calls = dataclasses.replace(watched(note, UNFLUSHED), fsync=fsync)
    move(place, calls=calls)
    return log


def kind_of(descriptor: int, place: str) -> str:
    path = os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), place)
    if path in SHARD_NAMES:
        return "shard"
    return {".": "root", "aliases": "aliases", "aliases/md5.unfinished": "journal"}.get(path, "FORMAT")


def _sort(name: str) -> str:
    return {32: "old name", 64: "new name"}.get(len(name), name)


def is_safe(log: list[str]) -> bool:
    """Whether names were durable before the journal, that before old names went, and these before the end."""
    steps = [
        "rename FORMAT",
        "flush root",
        "link new name",
        "flush shard",
        "write journal",
        "flush journal",
        "rename md5",
        "flush aliases",
        "unlink old name",
        "flush shard",
        "rename FORMAT",
        "flush root",
    ]
    rest = iter(log)
    return all(step in rest for step in steps)


def test_each_step_is_durable_before_the_next(place):
    fill(place, CONTENTS[:1])
    assert is_safe(diary(place))


@pytest.mark.parametrize("forgotten", ["root", "shard", "journal", "aliases"])
def test_a_build_that_forgets_a_flush_is_found_out(place, forgotten):
    fill(place, CONTENTS[:1])
    assert not is_safe(diary(place, forgotten))


def test_files_stay_regular_and_read_only(filled):
    move(filled)
    modes = {
        os.stat(f"{filled}/{name}").st_mode
        for name in files_below(filled)
        if name[:2] in SHARD_NAMES and name[2] == "/"
    }
    assert {stat.S_IFREG | 0o440} == modes


def test_a_name_that_no_file_had_is_not_found(filled):
    move(filled)
    disk = DiskBackend(filled, SHA256, UNFLUSHED)
    for name in (digest_of(b"never"), CORRUPT, digest_of(b"never", algorithm("sha1"))):
        with pytest.raises(NotFound):
            disk.current(name)
    disk.close()
    assert isinstance(outcome(maybeDeferred(DiskBackend, filled, MD5)), UnusableStore)
