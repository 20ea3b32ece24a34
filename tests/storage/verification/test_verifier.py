"""Passes over a store: what is found, moved, left alone; stops and continuations; faults of the disk."""

import errno
import json
import os
import shutil
import time

import pytest

from filestored.errors import NotFound, UnusableStore, VerificationRunning, VerificationStopped
from filestored.storage.disk.layout import prepare_bucket
from filestored.storage.disk.locks import lock_exclusive
from filestored.storage.disk.syscalls import DIRECTORY_FLAGS, Syscalls
from filestored.storage.verification import state, verifier
from filestored.storage.verification.disk_place import STATE, DiskPlace
from tests.storage.contract import HELLO, MD5, digest_of, put, read, watched
from tests.storage.verification.verified_stores import (
    Findings,
    Stopping,
    content,
    overwrite,
    recorded_state,
    verify,
)

FILES, FLIPPED = 300, 20


def names(digests):
    return sorted(each.hex for each in digests)


# --- findings, on a disk and in object stores ---------------------------------------------------------------


def test_flipped_files_are_found_moved_and_healed_by_an_upload(verified):
    stored = verified.fill(FILES)
    flipped = [verified.flip(number) for number in range(0, FILES, FILES // FLIPPED)]
    watcher = Findings()
    done = verify(verified.place, watcher)
    assert (FILES, FLIPPED) == (done.files, done.corrupt.count)
    assert names(flipped) == sorted(done.corrupt.reasons)
    assert {("corrupt", each.hex) for each in flipped} == set(watcher.names)
    assert sum(map(len, map(content, range(FILES)))) == done.bytes == sum(watcher.sizes)
    assert names(set(stored) - set(flipped)) == names(verified.backend.digests(None, FILES))
    assert 2 * FLIPPED == len(verified.quarantined())
    for number in range(0, FILES, FILES // FLIPPED):
        assert put(verified.backend, content(number))
        assert content(number) == read(verified.backend, digest_of(content(number)))
    assert verify(verified.place).is_faultless


def test_upload_that_meets_a_corrupt_file_heals_it_before_verification(verified):
    verified.fill(3)
    digest = verified.flip(1)
    assert put(verified.backend, content(1))
    assert content(1) == read(verified.backend, digest)
    assert verify(verified.place).is_faultless


def test_intact_store_is_left_as_it_is(verified):
    stored = verified.fill(5)
    assert (5, True) == (verify(verified.place).files, verify(verified.place).is_faultless)
    assert (names(stored), []) == (names(verified.backend.digests(None, 10)), verified.quarantined())


def test_finished_pass_is_recorded_with_its_time_and_findings(verified):
    verified.fill(3)
    digest = verified.flip(2)
    before = time.time()
    verify(verified.place)
    last = recorded_state(verified.place).last
    assert before <= last.started <= last.finished <= time.time()
    assert (3, [digest.hex]) == (last.files, [*last.corrupt.reasons])


def test_stopped_pass_continues_behind_the_last_file(verified):
    verified.fill(40)
    verified.flip(0)
    first, second = Stopping(after=15), Findings()
    with pytest.raises(VerificationStopped):
        verify(verified.place, first)
    assert recorded_state(verified.place).find(None).files == 15
    done = verify(verified.place, second)
    assert (40, 25, 1) == (done.files, len(second.sizes), done.corrupt.count)


def test_pass_over_young_files_is_stopped_although_none_is_read(verified):
    verified.fill(3)
    with pytest.raises(VerificationStopped):
        verify(verified.place, Stopping(after=0), older_than=3600.0)


def test_second_process_is_refused_while_a_pass_runs(verified):
    verified.fill(1)
    running = pytest.raises(VerificationRunning, match="another process verifies")
    with verified.place.claimed(), running, verified.place.claimed():
        pytest.fail("it was claimed twice")
    assert 1 == verify(verified.place).files


def test_file_healed_before_its_move_stays(verified):
    verified.fill(1)
    digest = verified.flip(0)
    with verified.place.opened("", None, 4096, lambda _: None) as files:
        examined = files.examine(digest, again=True)
        assert put(verified.backend, content(0))
        before = verified.quarantined()
        assert not files.quarantine(digest, examined, "it is corrupt")
    assert content(0) == read(verified.backend, digest)
    assert before == verified.quarantined()


def test_file_deleted_before_its_move_is_no_error(verified):
    verified.fill(1)
    digest = verified.flip(0)
    with verified.place.opened("", None, 4096, lambda _: None) as files:
        examined = files.examine(digest, again=True)
        verified.backend.delete(digest)
        assert not files.quarantine(digest, examined, "it is corrupt")
        assert files.examine(digest, again=False) is None
    assert [] == verified.quarantined()


def test_only_old_files_are_read_and_the_pass_is_none_over_all_files(verified):
    verified.fill(3)
    verified.flip(1)
    assert 0 == verify(verified.place, older_than=3600.0).files
    assert recorded_state(verified.place).last is None
    assert 3 == verify(verified.place, older_than=-3600.0).files


def test_findings_beyond_the_maximum_are_counted_and_told_but_not_recorded(on_disk, monkeypatch):
    monkeypatch.setattr(state, "MAX_NAMED_FILES", 5)
    on_disk.fill(20)
    for number in range(20):
        on_disk.flip(number)
    watcher = Findings()
    done = verify(on_disk.place, watcher)
    assert (20, 5, 20) == (done.corrupt.count, len(done.corrupt.reasons), len(watcher.names))


# --- buckets and former names, on a disk --------------------------------------------------------------------


@pytest.fixture
def bucket(on_disk, place):
    """The path of a bucket besides the default one, with a corrupt file; and the name of that."""
    path, _ = prepare_bucket(place, "builds", MD5, create=True)
    digest = digest_of(HELLO)
    with open(f"{path}/{digest.shard}/{digest}", "wb") as file:
        file.write(b"jello")
    return path, digest.hex


def test_corrupt_file_of_a_bucket_is_named_with_it(on_disk, bucket):
    on_disk.fill(2)
    path, name = bucket
    done = verify(on_disk.place)
    assert (3, [f"builds/{name}"]) == (done.files, [*done.corrupt.reasons])
    assert 2 == len(os.listdir(f"{path}/quarantine"))


def test_pass_continues_in_a_bucket(on_disk, bucket):
    on_disk.fill(2)
    with pytest.raises(VerificationStopped):
        verify(on_disk.place, Stopping(after=2))
    done = verify(on_disk.place)
    assert (3, 1) == (done.files, done.corrupt.count)


def test_file_with_a_former_name_is_compared_by_the_former_algorithm(on_disk, place):
    on_disk.fill(1)
    with open(f"{place}/FORMAT") as file:
        text = file.read()
    os.unlink(f"{place}/FORMAT")
    with open(f"{place}/FORMAT", "w") as file:
        file.write(
            text.replace('"format": 1, "hash": "md5"', '"format": 2, "hash": "sha256", "aliases": ["md5"]')
        )
    done = verify(DiskPlace(place))
    assert (1, True) == (done.files, done.is_faultless)
    on_disk.flip(0)
    assert [digest_of(content(0)).hex] == [*verify(DiskPlace(place)).corrupt.reasons]


def test_one_shard_is_listed_at_a_time(on_disk, place):
    stored = sorted(on_disk.fill(300), key=str)
    listings = []
    calls = watched(lambda name, _: listings.append(name) if name == "scandir" else None)
    with DiskPlace(place, calls=calls).opened("", None, 4096, lambda _: None) as files:
        found = []
        for number, listed in enumerate(files.listed("")):
            found.append(listed.digest)
            assert len(listings) == int(stored[number].shard, 16) + 1
    assert stored == found


def test_store_in_migration_is_refused(on_disk, place):
    on_disk.backend.close()
    root = os.open(place, DIRECTORY_FLAGS)
    try:
        lock_exclusive(root, Syscalls())
        with pytest.raises(UnusableStore, match="it is being migrated right now"):
            verify(DiskPlace(place))
    finally:
        os.close(root)


def test_removed_store_is_an_error_and_not_an_empty_one(on_disk, place):
    on_disk.fill(20)

    class Removing(Findings):
        def read(self, size):
            super().read(size)
            os.rename(f"{place}/FORMAT", f"{place}/FORMAT-away")

    with pytest.raises(OSError, match="removed"):
        verify(on_disk.place, Removing())


# --- faults, on a disk --------------------------------------------------------------------------------------


def failing(call, match, error, times=10**9):
    """System calls of which `call` fails where `match` says, at most so often."""
    left = [times]

    def fail(name, args):
        if name == call and match(args) and left[0]:
            left[0] -= 1
            raise OSError(error, os.strerror(error))

    return watched(fail)


def with_name(digests):
    wanted = {each.hex for each in digests}
    return lambda args: args[0] in wanted


@pytest.mark.parametrize("error", [errno.EIO, errno.EACCES])
def test_unreadable_file_is_named_and_stays(on_disk, place, error):
    stored = on_disk.fill(30)
    calls = failing("open", with_name(stored[:2]), error)
    watcher = Findings()
    done = verify(DiskPlace(place, calls=calls), watcher)
    assert (28, 2, 0) == (done.files, done.unreadable.count, done.corrupt.count)
    assert names(stored[:2]) == sorted(name for _, name in watcher.names)
    assert names(stored) == names(on_disk.backend.digests(None, 30))


def test_file_that_is_read_at_the_second_attempt_is_no_finding(on_disk, place):
    on_disk.fill(3)
    calls = failing("preadv", lambda _: True, errno.EIO, times=1)
    done = verify(DiskPlace(place, calls=calls))
    assert (3, True) == (done.files, done.is_faultless)


def test_wrong_bytes_at_the_first_attempt_only_are_no_finding(on_disk, place):
    on_disk.fill(3)
    wrong = [True]

    def preadv(descriptor, buffers, offset):
        read = os.preadv(descriptor, buffers, offset)
        if wrong[0]:
            wrong[0] = False
            buffers[0][0] ^= 1
        return read

    done = verify(DiskPlace(place, calls=Syscalls(preadv=preadv)))
    assert ((3, True), []) == ((done.files, done.is_faultless), on_disk.quarantined())


def test_failing_device_ends_the_pass_before_the_first_unreadable_file(on_disk, place):
    stored = on_disk.fill(60)
    failed = sorted(stored, key=str)[20:]
    with pytest.raises(UnusableStore, match=f"10 files in a row .* {failed[0]}: .*; check the disk"):
        verify(DiskPlace(place, calls=failing("open", with_name(failed), errno.EIO)))
    begun = recorded_state(on_disk.place).find(None)
    assert (20, True) == (begun.files, begun.is_faultless)
    done = verify(on_disk.place)
    assert (60, True) == (done.files, done.is_faultless)


def test_unreadable_directory_is_named_and_others_are_read(on_disk, place):
    stored = on_disk.fill(60)
    failed = stored[0].shard
    done = verify(DiskPlace(place, calls=failing("open", lambda args: args[0] == failed, errno.EIO)))
    assert ([failed], sum(each.shard != failed for each in stored)) == (
        [*done.unreadable.reasons],
        done.files,
    )


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_full_or_read_only_disk_is_verified_without_moves(on_disk, place, error):
    on_disk.fill(5)
    digest = on_disk.flip(3)
    creates = failing("open", lambda args: args[1] & os.O_CREAT, error)
    watcher = Findings()
    done = verify(DiskPlace(place, calls=creates), watcher)
    assert [os.strerror(error)] == watcher.warnings
    assert watcher.reasons[0].endswith(f"; it cannot be moved to quarantine: {os.strerror(error)}")
    assert (5, [digest.hex], []) == (done.files, [*done.corrupt.reasons], on_disk.quarantined())
    assert not os.path.exists(f"{place}/{STATE}")


def test_lack_of_descriptors_ends_the_pass(on_disk, place):
    stored = on_disk.fill(3)
    with pytest.raises(OSError, match="Too many open files"):
        verify(DiskPlace(place, calls=failing("open", with_name(stored[:1]), errno.EMFILE)))
    assert verify(on_disk.place).is_faultless


def test_file_replaced_between_two_reads_is_read_anew(on_disk, place):
    stored = on_disk.fill(1)
    on_disk.flip(0)
    opened = []

    def healed_after_first(name, args):
        if name == "open" and args[0] == stored[0].hex:
            opened.append(name)
            if len(opened) == 2:
                put(on_disk.backend, content(0))

    done = verify(DiskPlace(place, calls=watched(healed_after_first)))
    assert (1, True) == (done.files, done.is_faultless)
    assert content(0) == read(on_disk.backend, stored[0])


def test_finding_is_recorded_before_the_move(on_disk, place):
    """A process that is killed between both would else report a store without faults."""
    on_disk.fill(2)
    digest = on_disk.flip(1)
    killed = failing("rename", with_name([digest]), errno.EBUSY)
    with pytest.raises(OSError, match="busy"):
        verify(DiskPlace(place, calls=killed))
    with open(f"{place}/{STATE}") as file:
        assert digest.hex in file.read()
    put(on_disk.backend, content(1))
    assert [digest.hex] == [*verify(on_disk.place).corrupt.reasons]


def test_state_is_recorded_again_and_again(on_disk, place, monkeypatch):
    monkeypatch.setattr(verifier, "SAVE_SECONDS", 0.0)
    on_disk.fill(10)
    saved = []

    def watch(name, args):
        if name == "rename":
            saved.append(args[1])

    verify(DiskPlace(place, calls=watched(watch)))
    assert 10 <= saved.count(STATE)


def test_damaged_state_begins_a_new_pass(on_disk, place):
    on_disk.fill(2)
    for text in ("", "{", "[]", '{"unfinished": 1, "last": null}', '{"unfinished": {}, "last": {}}'):
        with open(f"{place}/{STATE}", "w") as file:
            file.write(text)
        assert 2 == verify(on_disk.place).files


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("files", "x"),
        ("bytes", []),
        ("started", float("nan")),
        ("started", "now"),
        ("finished", float("inf")),
        ("older_than", -1),
        ("position", [5, None]),
        ("position", ["../x", ""]),
        ("position", ["", "zz"]),
        ("corrupt", {"count": 1, "reasons": [["x"]]}),
        ("unreadable", {"count": None, "reasons": {}}),
    ],
)
def test_state_with_a_damaged_field_begins_a_new_pass(on_disk, place, field, value):
    on_disk.fill(2)
    verify(on_disk.place)
    with open(f"{place}/{STATE}") as file:
        last = json.load(file)["last"]
    with open(f"{place}/{STATE}", "w") as file:
        json.dump({"version": 1, "unfinished": {"all": last | {field: value}}, "last": None}, file)
    assert state.State() == recorded_state(on_disk.place)
    assert 2 == verify(on_disk.place).files


def test_deeply_nested_state_begins_a_new_pass(on_disk, place):
    on_disk.fill(2)
    with open(f"{place}/{STATE}", "w") as file:
        file.write("[" * 200_000)
    assert 2 == verify(on_disk.place).files


def test_control_characters_of_a_recorded_name_are_replaced(on_disk, place):
    on_disk.fill(1)
    on_disk.flip(0)
    verify(on_disk.place)
    with open(f"{place}/{STATE}") as file:
        found = json.load(file)
    found["last"]["corrupt"]["reasons"] = {"\x1b[2J\n\ud800": "a\nb"}
    with open(f"{place}/{STATE}", "w") as file:
        json.dump(found, file)
    assert {"?[2J??": "a?b"} == recorded_state(on_disk.place).last.corrupt.reasons


@pytest.mark.timeout(20)
@pytest.mark.parametrize("planted", ["stored file", "pipe", "symlink"])
def test_planted_file_with_the_temporary_name_of_the_state_is_replaced(on_disk, place, planted):
    digest = on_disk.fill(1)[0]
    path, next_state = f"{place}/{digest.shard}/{digest.hex}", f"{place}/{STATE}-next"
    if planted == "pipe":
        os.mkfifo(next_state)
    else:
        (os.link if planted == "stored file" else os.symlink)(path, next_state)
    assert verify(on_disk.place).is_faultless
    assert content(0) == read(on_disk.backend, digest)


@pytest.mark.parametrize("planted", [os.mkdir, os.mkfifo, lambda path: os.symlink("FORMAT", path)])
def test_state_that_is_no_file_is_one_error(on_disk, place, planted):
    on_disk.fill(1)
    planted(f"{place}/{STATE}")
    with pytest.raises(UnusableStore, match=r"\.verification in the store is not a regular file; remove it"):
        verify(on_disk.place)


def test_directory_that_is_no_bucket_is_not_verified(on_disk, place):
    on_disk.fill(1)
    for name in ("Upper", "line\nend", "-dash"):
        os.makedirs(f"{place}/buckets/{name}")
        shutil.copy(f"{place}/FORMAT", f"{place}/buckets/{name}")
    assert [""] == list(on_disk.place.buckets())
    assert verify(on_disk.place).is_faultless


def test_deleted_file_is_not_found_by_the_backend_after_its_move(on_disk):
    on_disk.fill(1)
    digest = on_disk.flip(0)
    verify(on_disk.place)
    with pytest.raises(NotFound):
        on_disk.backend.open(digest)


def test_cached_small_file_is_not_served_after_its_move(open_disk, on_disk, place):
    from filestored.storage.disk.file_cache import FileCache

    on_disk.fill(1)
    digest = digest_of(content(0))
    cached = open_disk(file_cache=FileCache())
    assert content(0) == read(cached, digest)
    overwrite(f"{place}/{digest.shard}/{digest}", b"other bytes")
    verify(on_disk.place)
    with pytest.raises(NotFound):
        cached.open(digest)


# --- usage --------------------------------------------------------------------------------------------------


def test_moved_file_is_subtracted_from_an_open_ledger(on_disk, place):
    from filestored.storage.limits.disk_usage import DiskUsage

    on_disk.fill(10)
    on_disk.flip(7)
    ledger = DiskUsage(place, on_disk.backend)
    ledger.open()
    try:
        before = ledger.current()
        verify(on_disk.place)
        after = ledger.current()
    finally:
        ledger.close()
    assert (1, len(content(7))) == (before.files - after.files, before.bytes - after.bytes)
