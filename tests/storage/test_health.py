"""Health: which errors suspend writing, until when, and which callbacks learn of it."""

import errno
import os

import pytest

from filestored.errors import EngineUnavailable, FileTooLarge, Overloaded, StorageFull, WritesSuspended
from filestored.storage.health import DeviceHealth, FlushFailed, Health, ShardUnusable


def failure(code: int, kind: type[OSError] = OSError) -> OSError:
    return kind(code, os.strerror(code))


GRAVE = (
    failure(errno.EIO),
    failure(errno.EUCLEAN),
    failure(errno.EBADMSG),
    failure(errno.EIO, FlushFailed),
    failure(errno.ENOSPC, FlushFailed),
)


@pytest.mark.parametrize("error", GRAVE, ids=repr)
def test_a_failed_write_or_flush_suspends_writing_until_a_restart(error):
    health = Health()
    assert health.classify(error) is error
    health.resume()
    assert (os.strerror(error.errno) in health.degraded, health.recoverable) == (True, False)
    with pytest.raises(WritesSuspended):
        health.check()


def test_a_read_only_file_system_suspends_writing_until_a_probe_passes():
    health = Health()
    assert isinstance(health.classify(failure(errno.EROFS)), WritesSuspended)
    assert (True, "Read-only" in health.degraded) == (health.recoverable, True)
    health.resume()
    health.check()
    assert health.degraded is None


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (failure(errno.ENOSPC), StorageFull),
        (failure(errno.EDQUOT), StorageFull),
        (failure(errno.EFBIG), FileTooLarge),
        (failure(errno.EMFILE), Overloaded),
        (failure(errno.ENOSPC, ShardUnusable), StorageFull),
        (failure(errno.EIO, ShardUnusable), ShardUnusable),
        (failure(errno.EUCLEAN, ShardUnusable), ShardUnusable),
        (failure(errno.ENOENT), FileNotFoundError),
        (ValueError(), ValueError),
    ],
    ids=repr,
)
def test_error_of_one_request_suspends_nothing(error, refusal):
    health = Health()
    assert isinstance(health.classify(error), refusal)
    assert health.degraded is None


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.EUCLEAN], ids=errno.errorcode.get)
def test_a_start_on_a_faulty_disk_suspends_writing_until_a_probe_passes(code):
    health = Health()
    health.suspend_until_probe(failure(code))
    assert health.recoverable


def test_a_start_on_a_full_disk_suspends_nothing():
    health = Health()
    health.suspend_until_probe(failure(errno.ENOSPC))
    assert health.degraded is None


def test_callback_is_called_once_per_suspension_of_this_process():
    health, told = Health(), []
    health.watch(lambda *suspension: told.append(suspension))
    health.suspend("another worker", until_restart=False)
    health.classify(failure(errno.EROFS))
    assert [] == told
    health.resume()
    health.classify(failure(errno.EROFS))
    health.classify(failure(errno.EROFS))
    health.classify(failure(errno.EIO))
    health.classify(failure(errno.EIO))
    assert [(False, True), (True, True)] == [suspension[1:] for suspension in told]


def test_probe_does_not_end_a_suspension_until_a_restart():
    health = Health()
    health.classify(failure(errno.EROFS))
    health.suspend("another worker", until_restart=True)
    health.suspend("a third", until_restart=False)
    health.resume()
    assert (False, True) == (health.recoverable, "Read-only" in health.degraded)


class Observed:
    """Changes of the health of two directories and an object store, on one device."""

    def __init__(self, path):
        self.changes = []
        self.devices = DeviceHealth()
        self.disk, self.other = self.devices.of(str(path)), self.devices.of(str(path / "images"))
        self.engine = self.devices.of("s3://bucket", remote=True)
        self.devices.observe(lambda *change: self.changes.append(change))


def test_observer_learns_of_the_suspension_of_a_disk_and_of_its_end(tmp_path):
    observed = Observed(tmp_path)
    observed.disk.classify(failure(errno.EROFS))
    assert (True, False) == observed.changes[-1]
    observed.disk.resume()
    assert (True, False) == observed.changes[-1], "the other directory is still suspended"
    observed.other.resume()
    assert (False, False) == observed.changes[-1]


def test_observer_learns_of_the_outage_of_an_object_store_and_of_its_end(tmp_path):
    observed = Observed(tmp_path)
    observed.engine.classify_read(EngineUnavailable("away"))
    assert [(False, True)] == observed.changes
    observed.engine.resume()
    assert [(False, True), (False, False)] == observed.changes


def test_observer_learns_of_suspensions_that_another_process_has_found(tmp_path):
    observed = Observed(tmp_path)
    observed.devices.suspend(os.stat(tmp_path).st_dev, "broken", True)
    assert (True, False) == observed.changes[-1]
