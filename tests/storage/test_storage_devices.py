"""Health by device: shared by all that is on one disk, and reported once."""

import errno

import pytest

from filestored.errors import StoreMissing, WritesSuspended
from filestored.storage.devices import DeviceHealth


@pytest.fixture
def devices():
    return DeviceHealth()


def fail(health):
    health.judge(OSError(errno.EIO, "I/O error"))


def test_directories_on_one_device_share_their_health(devices, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = devices.of(str(tmp_path / "a")), devices.of(str(tmp_path / "b"))
    fail(first)
    with pytest.raises(WritesSuspended):
        second.check()


def test_a_directory_that_was_removed_suspends_no_other(devices, tmp_path):
    first, second = devices.of(str(tmp_path)), devices.of(str(tmp_path))
    first.judge_read(StoreMissing())
    with pytest.raises(WritesSuspended):
        first.check()
    second.check()


def test_each_directory_recovers_by_itself(devices, tmp_path):
    first, second = devices.of(str(tmp_path)), devices.of(str(tmp_path))
    first.judge(OSError(errno.EROFS, "Read-only file system"))
    assert second.recoverable
    first.resume()
    first.check()
    with pytest.raises(WritesSuspended):
        second.check()


def test_directories_on_different_devices_have_their_own_health(devices, tmp_path):
    here, there = devices.of(str(tmp_path)), devices.of("/proc")
    fail(here)
    with pytest.raises(WritesSuspended):
        here.check()
    there.check()


def test_a_suspension_found_here_is_reported_once_with_its_device(devices, tmp_path):
    reports = []
    devices.watch(lambda *suspension: reports.append(suspension))
    health = devices.of(str(tmp_path))
    fail(health)
    fail(health)
    assert [(tmp_path.stat().st_dev, "[Errno 5] I/O error", True)] == reports


def test_a_suspension_found_elsewhere_holds_and_is_not_reported_again(devices, tmp_path):
    reports = []
    devices.watch(lambda *suspension: reports.append(suspension))
    health = devices.of(str(tmp_path))
    devices.suspend(tmp_path.stat().st_dev, "elsewhere", True)
    with pytest.raises(WritesSuspended):
        health.check()
    fail(health)
    assert ("elsewhere", []) == (health.degraded, reports)


def test_a_suspension_of_a_device_that_is_not_used_here_changes_nothing(devices, tmp_path):
    health = devices.of(str(tmp_path))
    devices.suspend(tmp_path.stat().st_dev + 1, "elsewhere", True)
    assert health.degraded is None


def test_a_directory_that_is_not_made_yet_is_on_the_device_of_its_parent(devices, tmp_path):
    later, parent = devices.of(str(tmp_path / "store" / "later")), devices.of(str(tmp_path))
    fail(parent)
    assert parent.degraded == later.degraded is not None
