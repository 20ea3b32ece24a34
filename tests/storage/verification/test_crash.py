"""Crash before each change that a pass makes on a disk: the next run finds and moves the same file, once."""

import os

import pytest

from filestored.storage.verification.disk_place import DiskPlace
from tests.storage.contract import put, watched
from tests.storage.fault_injection import Fault, in_a_child
from tests.storage.verification.verified_stores import content, verify

pytestmark = pytest.mark.slow

CHANGES = {"rename", "fsync", "write", "pwrite", "unlink", "flock"}


def is_change(name, args):
    return name in CHANGES or (name == "open" and bool(args[1] & os.O_CREAT))


def moved(store):
    return sum(not name.endswith(".reason") for name in store.quarantined())


def test_pass_killed_before_any_change_continues_with_its_finding(on_disk, place):
    stored = on_disk.fill(4)
    fault = Fault(lambda: os._exit(9))
    calls = watched(lambda name, args: fault(name, args) if is_change(name, args) else None)
    sites = 0
    for at in range(1000):
        digest, before = on_disk.flip(2), moved(on_disk)
        fault.arm(at)
        killed, succeeded = in_a_child(lambda: bool(verify(DiskPlace(place, calls=calls))))
        fault.disarm()
        assert killed or succeeded
        if not killed:
            break
        assert (at, [digest.hex]) == (at, [*verify(on_disk.place).corrupt.reasons])
        assert (at, before + 1) == (at, moved(on_disk))
        assert set(stored) - {digest} == set(on_disk.backend.digests(None, 10))
        put(on_disk.backend, content(2))
        sites += 1
    assert sites > 20
    assert before + 1 == moved(on_disk)
