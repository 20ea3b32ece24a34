"""Faults of each call of a migration: an error or a crash; the next run completes it.

The store is small and each batch has two files, so that every step occurs. The order of flushes shows that
names are durable in time; no test cuts the power.
"""

import dataclasses
import errno
import os
import stat

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.digest import algorithm
from filestored.errors import NotFound, UnusableStore
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import SHARD_NAMES
from filestored.storage.migration.migrate import Summary
from tests.storage.contract import MD5, digest_of, files_below, outcome, watched, without_tmpfile
from tests.storage.fault_injection import Fault, descriptors, in_a_child
from tests.storage.migration.interrupted import (
    CONTENTS,
    CORRUPT,
    STEP,
    SparseFault,
    ended_by,
    is_moved,
    names_of,
    read_record,
    reset,
    serve,
)
from tests.storage.migration.migrating import SHA256, UNFLUSHED, fill, move, path_of, record, spoil

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_batches")]


@pytest.mark.parametrize("kind", ["O_TMPFILE", "named"])
def test_crash_before_any_call_loses_nothing_and_the_next_run_continues(filled, kind):
    place, record_before = filled, read_record(filled)
    good = sorted(data for data in CONTENTS if digest_of(data) != CORRUPT)
    number, died, states = ("O_TMPFILE", "named").index(kind), True, []
    while died:
        reset(filled, record_before)
        fault = SparseFault(lambda: os._exit(9))

        def act(fault: Fault = fault, place: str = place, number: int = number) -> bool:
            fault.arm(number)
            return move(
                place, calls=watched(fault, without_tmpfile(UNFLUSHED) if kind == "named" else UNFLUSHED)
            ) == Summary(4, (CORRUPT,))

        died, _ = in_a_child(act)
        assert good == names_of(place)
        states.append(serve(place))
        # Nothing is left to report only after a crash behind the last step.
        assert move(place) in (Summary(4, (CORRUPT,)), Summary())
        is_moved(place)
        number += STEP
    assert ["md5", "refused", "sha256"] == sorted(set(states), key=states.index)


def test_failed_call_ends_the_run_and_the_next_run_continues(filled):
    place, record_before = filled, read_record(filled)
    good = sorted(data for data in CONTENTS if digest_of(data) != CORRUPT)
    number, struck = 0, "yes"

    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    while struck:
        reset(filled, record_before)
        fault, held = SparseFault(fail), descriptors()
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


def test_continued_run_reads_no_file_of_the_journal_again(filled):
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
def test_incomplete_end_of_the_journal_is_truncated(filled, tail):
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


def test_stale_journal_is_ignored_by_a_new_migration(filled):
    os.mkdir(filled + "/aliases", 0o700)
    for name in ("md5", "md5.unfinished"):
        with open(f"{filled}/aliases/{name}", "w") as file:
            file.write(f"{'f' * 32} {'0' * 64}\n")
    assert move(filled) == Summary(4, (CORRUPT,))
    is_moved(filled)


def test_unfinished_migration_is_finished_only_by_the_same_command(filled):
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


def test_lost_new_name_is_linked_again_before_the_old_one_is_unlinked(filled):
    new = digest_of(CONTENTS[0], SHA256)

    def steal(name, args):
        if name == "rename" and args[0] == "md5.unfinished":
            os.unlink(path_of(filled, new))

    assert move(filled, calls=watched(steal, UNFLUSHED)) == Summary(4, (CORRUPT,))
    is_moved(filled)


def test_old_name_stays_if_the_new_one_is_lost_and_the_file_is_corrupt(filled):
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
    """Return the events of a migration of one batch, without the flushes of `forget`."""
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
    """Return whether names were durable before the journal, and that before old names were unlinked."""
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
def test_missing_flush_is_detected(place, forgotten):
    fill(place, CONTENTS[:1])
    assert not is_safe(diary(place, forgotten))


def test_migrated_files_stay_regular_and_read_only(filled):
    move(filled)
    modes = {
        os.stat(f"{filled}/{name}").st_mode
        for name in files_below(filled)
        if name[:2] in SHARD_NAMES and name[2] == "/"
    }
    assert {stat.S_IFREG | 0o440} == modes


def test_unknown_former_name_is_not_found(filled):
    move(filled)
    disk = DiskBackend(filled, SHA256, UNFLUSHED)
    for name in (digest_of(b"never"), CORRUPT, digest_of(b"never", algorithm("sha1"))):
        with pytest.raises(NotFound):
            disk.resolve(name)
    disk.close()
    assert isinstance(outcome(maybeDeferred(DiskBackend, filled, MD5)), UnusableStore)
