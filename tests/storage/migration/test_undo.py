"""Full disk, damaged journal, and undo of a migration (`abandon`)."""

import errno
import os

import pytest

from filestored.errors import UnusableStore
from filestored.storage.migration.migrate import Summary, abandon
from tests.storage.contract import digest_of, files_below, watched
from tests.storage.fault_injection import in_a_child
from tests.storage.migration.interrupted import (
    COMMAND,
    CONTENTS,
    CORRUPT,
    STEP,
    SparseFault,
    ended_by,
    is_moved,
    read_record,
    reset,
    serve,
)
from tests.storage.migration.migrating import SHA256, UNFLUSHED, move, path_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_batches")]


def stop_before_the_end(place: str) -> None:
    """Run a migration that fails after all new names were linked, before the next step."""

    def die(name, args):
        if name == "rename" and args[0] == "md5.unfinished":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(UnusableStore):
        move(place, calls=watched(die, UNFLUSHED))


def is_as_before(place: str, record_before: bytes) -> None:
    """Fail unless the store is as before the migration, except for corrupt files."""
    assert record_before == read_record(place)
    good = {f"{digest.shard}/{digest}" for digest in map(digest_of, CONTENTS) if digest != CORRUPT}
    left = {name for name in files_below(place) if not name.startswith(("quarantine/", ".FORMAT-next"))}
    assert good == {name for name in left if CORRUPT.hex not in name}
    assert {1} == {os.stat(f"{place}/{name}").st_nlink for name in good}
    assert "md5" == serve(place)


def takes_space(name: str, args: tuple) -> bool:
    """Return whether a call can fail on a full disk."""
    creates = name == "open" and args[1] & (os.O_CREAT | os.O_TMPFILE) & ~os.O_DIRECTORY
    return name in ("link", "write", "mkdir") or bool(creates)


class Full:
    """A disk that is full after `after` calls that need space."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.calls = watched(self._strike, UNFLUSHED)

    def _strike(self, name, args):
        if takes_space(name, args):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- a full disk -----------------------------------------------------------------------------


def test_full_disk_ends_the_run_which_continues_with_free_space(filled):
    record_before, number, lines = read_record(filled), 0, []
    while not lines or lines[-1]:
        reset(filled, record_before)
        lines.append(ended_by(lambda number=number: move(filled, calls=Full(number).calls)))
        assert move(filled) in (Summary(4, (CORRUPT,)), Summary())
        is_moved(filled)
        number += 1
    assert all(os.strerror(errno.ENOSPC) in line for line in lines[:-1])
    assert number > 15


def test_steps_after_the_journal_need_no_space(filled):
    """These steps cannot be undone, so they must be able to finish."""
    disk = Full(10**6)

    def strike(name, args):
        if name == "rename" and args[0] == "md5.unfinished":
            disk.left = 0

    assert move(filled, calls=watched(strike, disk.calls)) == Summary(4, (CORRUPT,))
    is_moved(filled)


# --- the journal -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EIO, errno.EBADMSG], ids=errno.errorcode.get)
@pytest.mark.parametrize("finish", [move, abandon])
def test_unreadable_journal_is_replaced_by_an_empty_one(filled, code, finish):
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
    if finish is move:  # the corrupt file is in quarantine by now
        assert result == Summary(4)
        is_moved(filled)
    else:
        is_as_before(filled, before)


@pytest.mark.parametrize("finish", [move, abandon])
def test_journal_that_is_read_only_after_a_crash_is_continued_without_root(filled, finish):
    """The last step makes the journal read-only, then renames it; only root may write to it in between."""
    before = read_record(filled)
    stop_before_the_end(filled)
    journal = filled + "/aliases/md5.unfinished"
    os.chmod(journal, 0o440)

    def refuse(name, args):
        is_journal = name == "open" and args[0] == "md5.unfinished" and args[1] & os.O_RDWR
        if is_journal and not os.stat(journal).st_mode & 0o200:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    finish(filled, calls=watched(refuse, UNFLUSHED))
    if finish is move:
        is_moved(filled)
    else:
        is_as_before(filled, before)


@pytest.mark.parametrize("size", [0, 1, 97, 98, 150])
@pytest.mark.parametrize("finish", [move, abandon])
def test_truncated_journal_loses_no_file(filled, size, finish):
    before = read_record(filled)
    stop_before_the_end(filled)
    os.chmod(filled + "/aliases/md5.unfinished", 0o600)
    os.truncate(filled + "/aliases/md5.unfinished", size)
    finish(filled, calls=UNFLUSHED)
    if finish is move:
        is_moved(filled)
    else:
        is_as_before(filled, before)


# --- undo ------------------------------------------------------------------------------------


NO_MIGRATION = "there is no unfinished migration; the files are named by "


def test_abandon_without_a_migration_is_refused_and_changes_nothing(filled):
    before = read_record(filled), files_below(filled)
    assert NO_MIGRATION + "md5" in (ended_by(lambda: abandon(filled, UNFLUSHED)) or "")
    assert before == (read_record(filled), files_below(filled))


def test_migration_can_be_undone_after_a_crash_before_old_names_are_unlinked(filled):
    record_before = read_record(filled)
    number, died, ends = 0, True, []
    while died:
        reset(filled, record_before)
        fault = SparseFault(lambda: os._exit(9))

        def act(fault: SparseFault = fault, number: int = number) -> bool:
            fault.arm(number)
            return bool(move(filled, calls=watched(fault, UNFLUSHED)))

        died, _ = in_a_child(act)
        refusal = ended_by(lambda: abandon(filled, UNFLUSHED))
        too_late = f"losing their names by md5 already; finish it with {COMMAND}"
        assert refusal is None or too_late in refusal or NO_MIGRATION in refusal
        if refusal is None or NO_MIGRATION + "md5" in refusal:
            is_as_before(filled, record_before)
            ends.append("back")
        else:
            move(filled)
            is_moved(filled)
            ends.append("forward")
        number += STEP
    assert ends == sorted(ends)
    assert {"back", "forward"} == set(ends)


@pytest.mark.parametrize("finish", [move, abandon])
def test_crash_during_undo_allows_undo_and_migration(filled, finish):
    record_before = read_record(filled)
    number, died = (move, abandon).index(finish), True
    while died:
        reset(filled, record_before)
        stop_before_the_end(filled)
        fault = SparseFault(lambda: os._exit(9))

        def act(fault: SparseFault = fault, number: int = number) -> bool:
            fault.arm(number)
            return abandon(filled, watched(fault, UNFLUSHED)) == "md5"

        died, _ = in_a_child(act)
        refusal = ended_by(lambda: finish(filled, calls=UNFLUSHED))
        assert refusal is None or (finish is abandon and NO_MIGRATION + "md5" in refusal)
        if finish is move:
            is_moved(filled)
        else:
            is_as_before(filled, record_before)
        number += STEP
    assert number > 20


def test_undo_keeps_a_file_that_has_only_a_new_name(filled):
    stranger = path_of(filled, digest_of(b"a stranger", SHA256))
    with open(stranger, "w") as file:
        file.write("a stranger")
    stop_before_the_end(filled)
    abandon(filled, UNFLUSHED)
    assert os.path.exists(stranger)
