"""Starting on a disk that cannot be written to, and the attempts in the background that end that."""

import errno
import os
from functools import partial

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock

from filestored.errors import EngineUnavailable, StorageFull, UnusableStore, WritesSuspended
from filestored.storage.disk import records
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare, repair
from filestored.storage.health import UNFIT, Health
from filestored.storage.recovery import ENGINE_INTERVAL_SECONDS, INTERVAL_SECONDS, Recovery
from filestored.storage.store import Store
from tests.storage.contract import (
    HELLO,
    MD5,
    Workbench,
    digest_of,
    outcome,
    put,
    send,
    watched,
    without_tmpfile,
)

WRITING = ("mkdir", "link", "write", "unlink", "fsync")


class Disk:
    """Calls of which those that write fail with `code`, while it is set."""

    def __init__(self, code: int | None = None, original=None) -> None:
        self.code = code
        self.calls = watched(self._fail, original)

    def _fail(self, name, args):
        creates = name == "open" and args[1] & (os.O_TMPFILE | os.O_CREAT) & ~os.O_DIRECTORY
        if self.code and (name in WRITING or creates):
            raise OSError(self.code, os.strerror(self.code))


ERRORS = pytest.mark.parametrize("code", sorted(UNFIT), ids=errno.errorcode.get)
KINDS = pytest.mark.parametrize("original", [None, without_tmpfile()], ids=["O_TMPFILE", "named"])


@ERRORS
@KINDS
def test_a_store_that_exists_is_prepared_on_an_unwritable_disk_and_the_error_reported(place, code, original):
    prepare(place, "md5")
    reported = []
    assert MD5 == prepare(place, calls=Disk(code, original).calls, report=reported.append)
    assert [code] == [error.errno for error in reported]


@ERRORS
def test_records_are_prepared_on_an_unwritable_disk_and_the_error_reported(place, code):
    records.prepare(place, "images")
    reported = []
    records.prepare(place, "images", Disk(code).calls, reported.append)
    assert [code] == [error.errno for error in reported]


@ERRORS
def test_a_new_store_on_an_unwritable_disk_is_one_line(place, code):
    os.mkdir(place, 0o700)
    for make in (partial(prepare, place, "md5"), partial(records.prepare, place, "images")):
        with pytest.raises(UnusableStore, match=os.strerror(code)) as caught:
            make(calls=Disk(code).calls, report=pytest.fail)
        assert "\n" not in str(caught.value)


def test_a_store_that_belongs_to_another_format_is_refused_on_a_full_disk_too(place):
    prepare(place, "md5")
    with pytest.raises(UnusableStore, match="named by md5"):
        prepare(place, "sha256", Disk(errno.ENOSPC).calls, report=pytest.fail)


def test_any_other_error_of_the_probe_is_not_tolerated(place):
    prepare(place)
    with pytest.raises(UnusableStore, match="Permission denied"):
        prepare(place, calls=Disk(errno.EACCES).calls, report=pytest.fail)


@ERRORS
@KINDS
def test_a_store_opened_on_an_unwritable_disk_reads_and_writes_when_that_is_over(
    open_disk, place, code, original
):
    put(open_disk(), HELLO)
    disk = Disk(code, original)
    backend = DiskBackend(place, MD5, disk.calls, reserve=0)
    store = Store(backend, MD5, maybeDeferred)
    outcome(store.open(digest_of(HELLO))).close()
    assert code != errno.ENOSPC or isinstance(outcome(send(store, b"new")), StorageFull)
    disk.code = None
    assert put(backend, b"new")
    backend.close()


# --- the attempts ----------------------------------------------------------------------------


class Bench:
    """A `Recovery` with a clock, jobs done by hand, and a directory that cannot be prepared at first."""

    def __init__(self) -> None:
        self.clock, self.jobs, self.health = Clock(), Workbench(), Health()
        self.recovery = Recovery(self.clock, self.jobs)
        self.error: Exception | None = None
        self.attempts = 0
        self.report = self.recovery.add(self.health, self.repair)
        self.recovery.start()

    def repair(self) -> None:
        self.attempts += 1
        if self.error:
            raise self.error

    def wait(self) -> None:
        self.clock.advance(INTERVAL_SECONDS)
        self.jobs.do_all()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.recovery.stop()
    assert [] == made.clock.getDelayedCalls()


def failure(code):
    return OSError(code, os.strerror(code))


def test_healthy_directory_is_not_prepared_again(bench):
    bench.wait()
    assert 0 == bench.attempts


@pytest.mark.parametrize("error", [failure(errno.EROFS), UnusableStore("Read-only")], ids=repr)
def test_a_suspension_at_the_start_ends_with_the_first_attempt_that_succeeds(bench, error):
    bench.report(failure(errno.EROFS))
    bench.error = error
    bench.wait()
    bench.wait()
    with pytest.raises(WritesSuspended):
        bench.health.check()
    bench.error = None
    bench.wait()
    bench.health.check()
    bench.wait()
    assert 3 == bench.attempts


def test_a_full_disk_at_the_start_is_prepared_again_and_suspends_nothing(bench):
    bench.report(failure(errno.ENOSPC))
    bench.health.check()
    bench.wait()
    bench.wait()
    assert 1 == bench.attempts


def test_a_remount_as_read_only_is_probed_until_it_is_over(bench):
    bench.health.classify(failure(errno.EROFS))
    bench.wait()
    assert (None, 1) == (bench.health.degraded, bench.attempts)


def test_nothing_is_attempted_after_a_failed_write(bench):
    bench.report(failure(errno.ENOSPC))
    bench.health.classify(failure(errno.EIO))
    bench.wait()
    assert (0, False) == (bench.attempts, bench.health.recoverable)


def test_a_health_of_two_directories_resumes_when_both_can_be_prepared(bench):
    broken = [failure(errno.EROFS)]

    def furnish_other() -> None:
        if broken:
            raise broken[0]

    bench.recovery.add(bench.health, furnish_other)(broken[0])
    bench.wait()
    assert bench.health.recoverable
    broken.clear()
    bench.wait()
    assert bench.health.degraded is None


def test_an_attempt_under_way_is_not_joined_by_another_and_none_follows_a_stop(bench):
    bench.report(failure(errno.EROFS))
    bench.clock.advance(INTERVAL_SECONDS)
    bench.clock.advance(INTERVAL_SECONDS)
    assert 1 == len(bench.jobs.jobs)
    bench.recovery.stop()
    bench.jobs.do_all()
    assert [] == bench.clock.getDelayedCalls()


def test_repair_creates_a_missing_shard(place):
    prepare(place)
    os.rmdir(f"{place}/7f")
    repair(place)
    assert os.path.isdir(f"{place}/7f")


def test_object_store_is_also_checked_while_it_is_healthy():
    clock, failing, checked = Clock(), [], []

    def check():
        checked.append(clock.seconds())
        if failing:
            raise EngineUnavailable("it does not answer")

    health = Health(EngineUnavailable)
    recovery = Recovery(clock, maybeDeferred, ENGINE_INTERVAL_SECONDS)
    recovery.monitor(health, check)
    recovery.start()
    clock.pump([1.0] * 12)
    assert [1.0, 6.0, 11.0] == checked
    assert health.degraded is None
    failing.append(True)
    clock.pump([1.0] * 4)
    assert "it does not answer" == health.degraded
    with pytest.raises(EngineUnavailable):
        health.check()
    clock.pump([1.0] * 3)
    assert [16.0, 17.0, 18.0, 19.0] == checked[3:]
    failing.clear()
    clock.pump([1.0])
    assert health.degraded is None
    recovery.stop()
