"""System calls: a reliable syncfs by kernel and file system, errors of libc, the status of regular files."""

import os

import pytest

from filestored.errors import NotFound
from filestored.storage.disk.syscalls import (
    FILE_FLAGS,
    Syscalls,
    closed_after,
    regular_status,
    sync_file_range,
    syncfs,
    syncfs_is_reliable,
)
from tests.storage.special_files import plant

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
24 22 0:44 / /mnt/a\\040b rw master:1 shared:2 - fuse.sshfs host:/ rw
25 22 8:1 / /srv rw - xfs /dev/sda1 rw
26 22 0:50 / /dev/shm rw - tmpfs tmpfs rw
27 22 0:51 / /overlay rw - overlay overlay rw
"""


@pytest.mark.parametrize(
    ("device", "release", "expected"),
    [
        ((254, 0), "6.1.0-18-amd64", True),
        ((8, 1), "5.17.0", True),
        ((0, 50), "10.0", True),
        ((254, 0), "5.16.20", False),
        ((254, 0), "5.8.0", False),
        ((254, 0), "4.19.0", False),
        ((254, 0), "not a kernel", False),
        ((0, 44), "6.1.0", False),
        ((0, 51), "6.1.0", False),
        ((9, 9), "6.1.0", False),
    ],
)
def test_syncfs_is_reliable_by_file_system_and_kernel(device, release, expected):
    assert expected == syncfs_is_reliable(os.makedev(*device), release, MOUNTS)


@pytest.mark.parametrize("mounts", ["", "\n", "1\n", "x - ", " - ext4", "22 1 254:0 / / rw - "])
def test_syncfs_is_unreliable_for_an_unknown_mount(mounts):
    assert not syncfs_is_reliable(os.makedev(254, 0), "6.1.0", mounts)


def test_syncfs_of_a_closed_descriptor_raises():
    with pytest.raises(OSError, match="Bad file descriptor"):
        syncfs(-1)


def test_sync_file_range_of_a_closed_descriptor_raises():
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync_file_range(-1, 0, 1)


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_regular_status_closes_a_non_regular_file(tmp_path, kind):
    plant(kind, str(tmp_path / "name"))
    descriptor = os.open(tmp_path / "name", FILE_FLAGS)
    with pytest.raises(NotFound):
        regular_status(descriptor, Syscalls())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_regular_status_of_a_regular_file(tmp_path):
    (tmp_path / "name").write_bytes(b"hello")
    with closed_after(os.open(tmp_path / "name", FILE_FLAGS)) as descriptor:
        assert 5 == regular_status(descriptor, Syscalls()).st_size
