"""Health by device: shared by all that is on one disk, and reported once."""

import errno

import pytest

from filestored.errors import StoreMissing, WritesSuspended
from filestored.storage.health import DeviceHealth


@pytest.fixture
def devices():
    return DeviceHealth()


def fail(health):
    health.classify(OSError(errno.EIO, "I/O error"))


@pytest.mark.parametrize("later", ["b", "later/b"])
def test_an_error_of_a_device_suspends_all_directories_on_it(devices, tmp_path, later):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = devices.of(str(tmp_path / "a")), devices.of(str(tmp_path / later))
    fail(one)
    with pytest.raises(WritesSuspended):
        other.check()


def test_a_probe_of_one_directory_ends_no_suspension_of_another(devices, tmp_path):
    one, other = devices.of(str(tmp_path)), devices.of(str(tmp_path / "b"))
    one.classify(OSError(errno.EROFS, "read-only"))
    one.resume()
    one.check()
    with pytest.raises(WritesSuspended):
        other.check()


def test_removed_directory_suspends_only_itself(devices, tmp_path):
    reports = []
    devices.watch(lambda *suspension: reports.append(suspension))
    one, other = devices.of(str(tmp_path / "a")), devices.of(str(tmp_path / "b"))
    one.classify(StoreMissing())
    other.check()
    with pytest.raises(WritesSuspended):
        one.check()
    assert [(str(tmp_path / "a"), str(StoreMissing()), True)] == reports
    elsewhere = DeviceHealth()
    one, other = elsewhere.of(str(tmp_path / "a")), elsewhere.of(str(tmp_path / "b"))
    elsewhere.suspend(*reports[0])
    other.check()
    with pytest.raises(WritesSuspended):
        one.check()


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


def test_suspension_of_another_process_is_not_reported_again(devices, tmp_path):
    reports = []
    devices.watch(lambda *suspension: reports.append(suspension))
    health = devices.of(str(tmp_path))
    devices.suspend(tmp_path.stat().st_dev, "elsewhere", True)
    with pytest.raises(WritesSuspended):
        health.check()
    fail(health)
    assert ("elsewhere", []) == (health.degraded, reports)


def test_suspension_of_an_unused_device_changes_nothing(devices, tmp_path):
    health = devices.of(str(tmp_path))
    devices.suspend(tmp_path.stat().st_dev + 1, "elsewhere", True)
    assert health.degraded is None
