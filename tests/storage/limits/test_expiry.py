"""Expiry: renewal by uploads, sweeps of several processes, the background thread."""

import errno
import fcntl
import os
import threading
from contextlib import contextmanager

import pytest
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from filestored.errors import EngineUnavailable, NotFound
from filestored.interfaces import IExpiringBackend, IRenewableSink, Usage
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare
from filestored.storage.limits import expiry
from filestored.storage.limits.disk_expiry import SWEEP_FILE
from filestored.storage.limits.expiry import ExpiringBucket, ExpirySweeper, sweep
from filestored.storage.limits.usage_count import count_usage
from tests.daemon_process import until
from tests.storage.contract import HELLO, digest_of, put, read, watched
from tests.storage.object_stores import ENGINES, LOCAL

EXPIRING = [name for name in (*LOCAL, *ENGINES) if name != "memory"]
OLD = 1_000.0
OTHER = b"other"


def upload(backend, data):
    """Upload as a bucket with an expiry does; return whether the file was new, None if it has to be again."""
    digest = digest_of(data)
    sink = backend.begin()
    try:
        sink.write(data)
        sink.seal()
        created = sink.publish(digest)
        return created if sink.renew(digest, created) else None
    finally:
        sink.discard()


def path_of(place, data):
    return f"{place}/{digest_of(data).shard}/{digest_of(data).hex}"


def make_old(place, *contents):
    for data in contents:
        os.utime(path_of(place, data), (OLD, OLD))


def stored(backend):
    return {digest.hex for digest in backend.digests(None, 100)}


def names(*contents):
    return {digest_of(data).hex for data in contents}


# --- backends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", EXPIRING, indirect=True)
def test_backends_with_expiry_provide_its_interfaces(backend):
    sink = backend.begin()
    assert verifyObject(IExpiringBackend, backend)
    assert verifyObject(IRenewableSink, sink)
    sink.discard()


@pytest.mark.parametrize("backend", EXPIRING, indirect=True)
def test_new_and_stored_files_are_renewed(backend):
    assert [True, False, False] == [upload(backend, HELLO) for _ in range(3)]
    assert HELLO == read(backend, digest_of(HELLO))


@pytest.mark.parametrize("backend", EXPIRING, indirect=True)
def test_file_is_deleted_if_its_time_is_before_the_limit(backend):
    upload(backend, HELLO)
    modified = backend.describe(digest_of(HELLO)).modified
    assert not backend.delete_expired(digest_of(HELLO), modified)
    assert HELLO == read(backend, digest_of(HELLO))
    assert backend.delete_expired(digest_of(HELLO), modified + 1)
    with pytest.raises(NotFound):
        backend.open(digest_of(HELLO))
    assert not backend.delete_expired(digest_of(HELLO), modified + 1)
    assert upload(backend, HELLO) is True


@pytest.mark.parametrize("backend", EXPIRING, indirect=True)
def test_one_process_in_an_interval_claims_a_sweep(backend):
    upload(backend, HELLO)
    with backend.claimed_sweep(0.0) as now:
        assert now is not None
        assert abs(backend.describe(digest_of(HELLO)).modified - now) < 60
    with backend.claimed_sweep(1000.0) as again:
        assert again is None
    with backend.claimed_sweep(0.0) as now:
        assert now is not None
    assert names(HELLO) == stored(backend)


def test_sweep_that_is_in_progress_is_not_claimed_by_another_process(open_disk):
    first, second = open_disk(), open_disk()
    with first.claimed_sweep(0.0) as now, second.claimed_sweep(0.0) as other:
        assert now is not None
        assert other is None
    with second.claimed_sweep(0.0) as now:
        assert now is not None


@pytest.mark.parametrize("backend", EXPIRING, indirect=True)
def test_expired_files_give_their_quota_back(backend, limit):
    limited = limit(backend, quota_bytes=10, expire=100.0)
    assert [True, False, True] == [put(limited, data) for data in (HELLO, HELLO, OTHER)]
    assert Usage(2, 10) == limited.recorded_usage()
    modified = backend.describe(digest_of(HELLO)).modified
    assert limited.delete_expired(digest_of(HELLO), modified + 1)
    assert not limited.delete_expired(digest_of(HELLO), modified + 1)
    assert not limited.delete_expired(digest_of(OTHER), modified - 100)
    assert Usage(1, 5) == limited.recorded_usage()
    assert put(limited, HELLO) is True
    assert Usage(2, 10) == limited.recorded_usage() == count_usage(backend)


def test_upload_renews_a_file_while_the_bucket_has_an_expiry(disk, place, limit):
    for expire, is_old in ((None, True), (100.0, False)):
        limited = limit(disk, expire=expire)
        put(limited, HELLO)
        make_old(place, HELLO)
        put(limited, HELLO)
        assert is_old == (os.stat(path_of(place, HELLO)).st_mtime == OLD)


@pytest.mark.parametrize("backend", ["disk", "disk without O_TMPFILE"], indirect=True)
def test_batch_with_equal_content_renews_it(backend, place, limit):
    """All sinks of a batch are open at once, also those whose temp files are locked."""
    limited = limit(backend, expire=100.0)
    sinks = [limited.begin() for _ in range(3)]
    for sink in sinks:
        sink.write(HELLO)
        sink.seal()
    assert [True, False, False] == [sink.publish(digest_of(HELLO)) for sink in sinks]
    for sink in sinks:
        sink.discard()


# --- disk ---------------------------------------------------------------------------------------


def test_renewed_file_has_a_new_time_which_is_flushed(open_disk, place):
    calls = []
    disk = open_disk(watched(lambda name, _: calls.append(name)))
    upload(disk, HELLO)
    make_old(place, HELLO)
    calls.clear()
    assert upload(disk, HELLO) is False
    assert os.stat(path_of(place, HELLO)).st_mtime > OLD
    assert ["utime", "fsync"] == [name for name in calls if name in ("utime", "fsync")][-2:]


def test_file_that_was_replaced_before_its_renewal_is_published_again(disk, place):
    put(disk, HELLO)
    sink = disk.begin()
    sink.write(HELLO)
    sink.seal()
    assert sink.publish(digest_of(HELLO)) is False
    os.unlink(path_of(place, HELLO))
    assert sink.renew(digest_of(HELLO), False) is False
    assert sink.publish(digest_of(HELLO)) is True
    sink.discard()


def test_file_whose_time_cannot_be_set_is_replaced(open_disk, place):
    def refuse(name, args):
        if name == "utime":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    disk = open_disk(watched(refuse))
    put(disk, HELLO)
    assert upload(disk, HELLO) is None
    assert upload(disk, HELLO) is True
    (reason,) = [name for name in os.listdir(f"{place}/quarantine") if name.endswith(".reason")]
    with open(f"{place}/quarantine/{reason}", encoding="utf-8") as file:
        assert "its time cannot be set" in file.read()


def test_locked_file_is_left_for_the_next_sweep(disk, place):
    put(disk, HELLO)
    make_old(place, HELLO)
    with open(path_of(place, HELLO), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert not disk.delete_expired(digest_of(HELLO), OLD + 1)
    assert disk.delete_expired(digest_of(HELLO), OLD + 1)


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_sweep_deletes_regular_files_only(disk, place, kind):
    path = path_of(place, HELLO)
    if kind == "directory":
        os.mkdir(path)
        os.utime(path, (OLD, OLD))
        assert not disk.delete_expired(digest_of(HELLO), OLD + 1)
    else:
        os.symlink("/", path)
        with pytest.raises(OSError, match="symbolic links"):
            disk.delete_expired(digest_of(HELLO), OLD + 1)
    assert os.path.lexists(path)


@pytest.mark.parametrize("backend", ["disk", "disk with a file cache"], indirect=True)
def test_open_and_cached_files_stay_correct(backend, place):
    """A renewal changes the ctime, by which caches validate; a file that is open is read to its end."""
    put(backend, HELLO)
    opened = [backend.open(digest_of(HELLO)) for _ in range(2)]
    make_old(place, HELLO)
    upload(backend, HELLO)
    assert HELLO == read(backend, digest_of(HELLO))
    opened.append(backend.open(digest_of(HELLO)))
    make_old(place, HELLO)
    assert backend.delete_expired(digest_of(HELLO), OLD + 1)
    assert [HELLO] * 3 == [file.read(0, 10) for file in opened]
    with pytest.raises(NotFound):
        backend.open(digest_of(HELLO))
    for file in opened:
        file.close()


# --- sweeps -------------------------------------------------------------------------------------


def no_pause():
    pass


def test_sweep_deletes_old_files_in_all_pages(disk, place, monkeypatch):
    monkeypatch.setattr(expiry, "_PAGE_FILES", 3)
    old, young = [b"old %d" % number for number in range(10)], [b"young %d" % number for number in range(10)]
    for data in (*old, *young):
        put(disk, data)
    make_old(place, *old)
    os.utime(path_of(place, young[0]), (2**33, 2**33))  # a file of the future is not old
    result = sweep(disk, OLD + 1, no_pause)
    assert (10, None) == (result.deleted, result.error)
    assert names(*young) == stored(disk)


def test_error_of_one_file_does_not_end_the_sweep(open_disk, place):
    contents = [b"%d" % number for number in range(9)]
    damaged = []

    def fail(name, args):
        if name == "open" and args[0] in damaged:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk = open_disk(watched(fail))
    for data in contents:
        put(disk, data)
    make_old(place, *contents)
    damaged.append(digest_of(contents[0]).hex)
    result = sweep(disk, OLD + 1, no_pause)
    assert (8, errno.EIO) == (result.deleted, result.error.errno)
    assert names(contents[0]) == stored(disk)


def test_outage_ends_the_sweep(disk, place, monkeypatch):
    for data in (HELLO, OTHER):
        put(disk, data)
    make_old(place, HELLO, OTHER)
    calls = []

    def unavailable(digest, before):
        calls.append(digest)
        raise EngineUnavailable("it does not answer")

    monkeypatch.setattr(disk, "delete_expired", unavailable)
    result = sweep(disk, OLD + 1, no_pause)
    assert (0, "it does not answer") == (result.deleted, result.error.reason)
    assert 1 == len(calls)


DAY = 24 * 60 * 60.0


def test_files_are_kept_a_little_longer_than_their_expiry():
    assert 10 * DAY - 1010 == ExpiringBucket("b", None, 1000.0, 0.0).oldest(10 * DAY, 0.0)
    assert 100 * DAY - 30 * DAY - 60 == ExpiringBucket("b", None, 30 * DAY, 0.0).oldest(100 * DAY, 0.0)


def test_clock_set_forward_counts_from_the_next_sweep_on():
    bucket = ExpiringBucket("b", None, 100.0, 0.0)
    first = bucket.oldest(10 * DAY, 5.0)
    assert first + 10 == bucket.oldest(400 * DAY, 15.0)
    assert first + 390 * DAY + 10 == bucket.oldest(400 * DAY + 10, 25.0)


def test_clock_set_back_counts_at_once():
    bucket = ExpiringBucket("b", None, 100.0, 0.0)
    first = bucket.oldest(10 * DAY, 5.0)
    assert first - 9 * DAY == bucket.oldest(DAY, 15.0)


@pytest.mark.parametrize(
    ("expire", "interval"), [(2.0, 1.0), (100.0, 10.0), (DAY, 3600.0), (365 * DAY, 3600.0)]
)
def test_interval_is_a_tenth_of_the_expiry_within_bounds(expire, interval):
    assert interval == ExpiringBucket("b", None, expire, 0.0).interval


# --- the thread ---------------------------------------------------------------------------------


class Reactor:
    """Keeps the calls of other threads."""

    def __init__(self):
        self.calls = []

    def callFromThread(self, function, *args):
        self.calls.append((function, args))

    def run(self):
        while self.calls:
            function, args = self.calls.pop(0)
            function(*args)


@pytest.fixture
def reactor():
    return Reactor()


@pytest.fixture
def sweeper(reactor, monkeypatch):
    """A sweeper with short intervals; its thread has ended when the test is over."""
    monkeypatch.setattr(expiry, "MIN_INTERVAL_SECONDS", 0.01)
    sweeper = ExpirySweeper(reactor)
    yield sweeper
    sweeper.stop()
    until(lambda: not running(), "the thread has ended")


def running():
    return [thread for thread in threading.enumerate() if thread.name == "filestored-expiry"]


def test_thread_deletes_expired_files_of_its_buckets_only(open_disk, place, tmp_path, sweeper, reactor):
    disk = open_disk()
    other = DiskBackend(f"{tmp_path}/other", prepare(f"{tmp_path}/other", "md5"))
    for backend, path in ((disk, place), (other, f"{tmp_path}/other")):
        put(backend, HELLO)
        put(backend, OTHER)
        make_old(path, HELLO)
    sweeper.set("builds", disk, 0.1)
    until(lambda: names(OTHER) == stored(disk), "the file is deleted")
    assert 1 == len(running())
    assert names(HELLO, OTHER) == stored(other)
    other.close()
    until(lambda: any("_report" in call[0].__name__ for call in reactor.calls), "the sweep is reported")
    with capturedLogs() as logged:
        reactor.run()
    texts = [event["log_format"].format(**event) for event in logged]
    assert ["deleted 1 file of the bucket builds that expired"] == texts


def test_processes_share_the_sweeps_of_a_bucket(open_disk, place, sweeper, reactor):
    disk = open_disk()
    put(disk, HELLO)
    make_old(place, HELLO)
    with open_disk().claimed_sweep(0.0) as now:
        assert now is not None
        sweeper.set("builds", disk, 0.1)
        until(lambda: len(reactor.calls) >= 6, "some sweeps were not claimed")
        assert names(HELLO) == stored(disk)
    until(lambda: not stored(disk), "the file is deleted")


def test_removed_bucket_is_not_swept(disk, place, sweeper, reactor):
    sweeper.set("builds", disk, 0.1)
    assert sweeper.remove("builds").called
    assert sweeper.remove("builds").called
    put(disk, HELLO)
    make_old(place, HELLO)
    sweeper.set("other", disk, 1e9)
    assert names(HELLO) == stored(disk)


def test_each_removal_and_stop_fires_when_the_sweep_has_ended(disk, place, sweeper, reactor, monkeypatch):
    entered, go_on = threading.Event(), threading.Event()
    claimed = disk.claimed_sweep

    @contextmanager
    def slow(interval):
        entered.set()
        assert go_on.wait(30)
        with claimed(interval) as now:
            yield now

    monkeypatch.setattr(disk, "claimed_sweep", slow)
    put(disk, HELLO)
    make_old(place, HELLO)
    sweeper.set("builds", disk, 0.1)
    assert entered.wait(30)
    removed = [sweeper.remove("builds"), sweeper.remove("builds"), sweeper.stop()]
    reactor.run()
    assert [False] * 3 == [each.called for each in removed]
    go_on.set()
    until(lambda: reactor.calls, "the sweep has ended")
    reactor.run()
    assert [True] * 3 == [each.called for each in removed]
    assert names(HELLO) == stored(disk)


def test_thread_survives_errors_and_logs_one_for_each_sweep(disk, place, sweeper, reactor, monkeypatch):
    failures = [OSError(errno.EIO, "Input/output error"), ValueError("a defect")]
    claimed = disk.claimed_sweep

    @contextmanager
    def failing(interval):
        if failures:
            raise failures.pop(0)
        with claimed(interval) as now:
            yield now

    monkeypatch.setattr(disk, "claimed_sweep", failing)
    put(disk, HELLO)
    make_old(place, HELLO)
    sweeper.set("builds", disk, 0.1)
    until(lambda: not stored(disk), "the file is deleted")
    with capturedLogs() as logged:
        reactor.run()
    texts = [event["log_format"].format(**event) for event in logged]
    assert [
        "expired files of the bucket builds were not deleted: Input/output error",
        "expired files were not deleted",
    ] == texts[:2]


def test_changed_expiry_counts_from_now_on(disk, place, sweeper):
    put(disk, HELLO)
    make_old(place, HELLO)
    sweeper.set("builds", disk, 1e12)
    sweeper.set("builds", disk, 1e12)
    sweeper.set("builds", disk, 0.1)
    until(lambda: not stored(disk), "the file is deleted")
    assert os.path.exists(f"{place}/{SWEEP_FILE}")
