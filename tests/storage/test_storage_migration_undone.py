"""Ways out of a migration that cannot go on: a full disk, a damaged journal, and `abandon`."""

import errno
import os

import pytest

from filestored.errors import UnusableStore
from filestored.storage.migration.migrate import Summary, abandon
from tests.storage.contract import digest_of, files_below, watched
from tests.storage.test_storage_faults import in_a_child
from tests.storage.test_storage_migration import SHA256, UNFLUSHED, move, path_of, record
from tests.storage.test_storage_migration_faults import (
    COMMAND,
    CONTENTS,
    CORRUPT,
    Few,
    begin_again,
    ended_by,
    filled,
    is_moved,
    read_record,
    serve,
    small_batches,
)

pytestmark = pytest.mark.slow

__all__ = ["filled", "small_batches"]  # fixtures


def stop_before_the_end(place: str) -> None:
    """A migration that has ended when all files had new names, and nothing else was done."""

    def die(name, args):
        if name == "rename" and args[0] == "md5.unfinished":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(UnusableStore):
        move(place, calls=watched(die, UNFLUSHED))


def is_as_before(place: str, record_before: bytes) -> None:
    """Fail unless the store is what it was before the migration, but for what had rotted."""
    assert record_before == read_record(place)
    good = {f"{digest.shard}/{digest}" for digest in map(digest_of, CONTENTS) if digest != CORRUPT}
    left = {name for name in files_below(place) if not name.startswith(("quarantine/", ".FORMAT-next"))}
    assert good == {name for name in left if CORRUPT.hex not in name}
    assert {1} == {os.stat(f"{place}/{name}").st_nlink for name in good}
    assert "md5" == serve(place)


def takes_space(name: str, args: tuple) -> bool:
    """Whether a call can fail on a full disk."""
    creates = name == "open" and args[1] & (os.O_CREAT | os.O_TMPFILE) & ~os.O_DIRECTORY
    return name in ("link", "write", "mkdir") or bool(creates)


class Full:
    """A disk without space from the call with the number `after` on that takes any."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.calls = watched(self._strike, UNFLUSHED)

    def _strike(self, name, args):
        if takes_space(name, args):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- a full disk -----------------------------------------------------------------------------


def test_a_full_disk_ends_the_run_with_one_line_and_it_goes_on_when_there_is_space(filled):
    record_before, number, lines = read_record(filled), 0, []
    while not lines or lines[-1]:
        begin_again(filled, record_before)
        lines.append(ended_by(lambda number=number: move(filled, calls=Full(number).calls)))
        assert move(filled) in (Summary(4, (CORRUPT,)), Summary())
        is_moved(filled)
        number += 1
    assert all(line.endswith(os.strerror(errno.ENOSPC)) for line in lines[:-1])
    assert number > 15


def test_the_steps_after_the_journal_need_no_space(filled):
    """From there on there is no way back, so there must be one ahead."""
    disk = Full(10**6)

    def strike(name, args):
        if name == "rename" and args[0] == "md5.unfinished":
            disk.left = 0

    assert move(filled, calls=watched(strike, disk.calls)) == Summary(4, (CORRUPT,))
    is_moved(filled)


# --- the journal -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EIO, errno.EBADMSG], ids=errno.errorcode.get)
@pytest.mark.parametrize("finish", [move, abandon])
def test_a_journal_that_cannot_be_read_is_begun_anew(filled, code, finish):
    before = read_record(filled)
    stop_before_the_end(filled)
    failed = []

    def fail(name, args):
        path = os.readlink(f"/proc/self/fd/{args[0]}") if name == "pread" else ""
        if path.endswith("unfinished") and not failed:
            failed.append(path)
            raise OSError(code, os.strerror(code))

    result = finish(filled, calls=watched(fail, UNFLUSHED))
    assert failed
    if finish is move:  # what had rotted is in quarantine by now
        assert result == Summary(4)
        is_moved(filled)
    else:
        is_as_before(filled, before)


@pytest.mark.parametrize("size", [0, 1, 97, 98, 150])
@pytest.mark.parametrize("finish", [move, abandon])
def test_a_journal_that_was_cut_off_costs_work_only(filled, size, finish):
    before = read_record(filled)
    stop_before_the_end(filled)
    os.truncate(filled + "/aliases/md5.unfinished", size)
    finish(filled, calls=UNFLUSHED)
    if finish is move:
        is_moved(filled)
    else:
        is_as_before(filled, before)


# --- undone ----------------------------------------------------------------------------------


def test_a_store_that_is_not_migrated_stays_as_it_is(filled):
    before = read_record(filled), files_below(filled)
    assert "md5" == abandon(filled, UNFLUSHED)
    assert before == (read_record(filled), files_below(filled))


def test_a_migration_that_died_before_any_call_can_be_undone_until_old_names_go(filled):
    record_before = read_record(filled)
    number, died, ends = 0, True, []
    while died:
        begin_again(filled, record_before)
        fault = Few(lambda: os._exit(9))

        def act(fault: Few = fault, number: int = number) -> bool:
            fault.arm(number)
            return bool(move(filled, calls=watched(fault, UNFLUSHED)))

        died, _ = in_a_child(act)
        refusal = ended_by(lambda: abandon(filled, UNFLUSHED))
        assert refusal is None or f"losing their names by md5 already; finish it with {COMMAND}" in refusal
        if refusal is None and record(filled)["hash"] == "md5":
            is_as_before(filled, record_before)
            ends.append("back")
        else:
            move(filled)
            is_moved(filled)
            ends.append("forward")
        number += 1
    assert ends == sorted(ends)
    assert {"back", "forward"} == set(ends)


@pytest.mark.parametrize("finish", [move, abandon])
def test_a_death_before_any_call_of_the_undoing_leaves_both_ways_open(filled, finish):
    record_before = read_record(filled)
    number, died = 0, True
    while died:
        begin_again(filled, record_before)
        stop_before_the_end(filled)
        fault = Few(lambda: os._exit(9))

        def act(fault: Few = fault, number: int = number) -> bool:
            fault.arm(number)
            return abandon(filled, watched(fault, UNFLUSHED)) == "md5"

        died, _ = in_a_child(act)
        finish(filled, calls=UNFLUSHED)
        if finish is move:
            is_moved(filled)
        else:
            is_as_before(filled, record_before)
        number += 1
    assert number > 20


def test_a_file_that_only_has_a_name_of_the_new_algorithm_is_not_removed(filled):
    stranger = path_of(filled, digest_of(b"a stranger", SHA256))
    with open(stranger, "w") as file:
        file.write("a stranger")
    stop_before_the_end(filled)
    abandon(filled, UNFLUSHED)
    assert os.path.exists(stranger)
