"""Health by device: shared by all that is on one disk, and reported once."""

import errno

import pytest

from filestored.errors import WritesSuspended
from filestored.storage.devices import DeviceHealth


@pytest.fixture
def devices():
    return DeviceHealth()


def fail(health):
    health.judge(OSError(errno.EIO, "I/O error"))


def test_directories_on_one_device_share_their_health(devices, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert devices.of(str(tmp_path / "a")) is devices.of(str(tmp_path / "b"))


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
    assert devices.of(str(tmp_path / "store" / "later")) is devices.of(str(tmp_path))
