"""Objects of removed records: deleted after a day, and never one that was created again."""

from datetime import UTC, datetime, timedelta

import pytest

from filestored.errors import EngineError
from filestored.storage.disk.records import DiskRecords, prepare
from filestored.storage.removed_records import removed
from tests.storage.object_stores import open_object_records

NAME = "accounts/anna/account"
DAY_SECONDS = 25 * 60 * 60


@pytest.fixture
def records(memory):
    """Records whose service is `seconds` ahead of the dates of its objects."""
    records = open_object_records(memory)
    records.seconds = 0
    records._now = lambda: datetime.now(UTC) + timedelta(seconds=records.seconds)
    return records


@pytest.fixture
def sweep(records):
    """A function that sweeps a day later, and calls `meanwhile` some seconds after objects were marked."""

    def sweep(seconds=200, meanwhile=lambda: None):
        def pause(wanted):
            if wanted:
                records.seconds = seconds
                meanwhile()

        records.seconds = DAY_SECONDS
        return records.sweep_removed(["accounts"], pause)

    return sweep


def keys(memory):
    return [each.key for each in memory.objects()]


def remove(records):
    records.create(NAME, b"old")
    assert records.remove(NAME, b"old")
    assert ([], None) == (records.names("accounts"), records.read(NAME))


def test_object_of_a_removed_record_is_deleted_after_a_day(records, memory, sweep):
    remove(records)
    records.create("accounts/bert/account", b"kept")
    assert 0 == records.sweep_removed(["accounts"], lambda _: None)
    assert ["FORMAT", NAME, "accounts/bert/account"] == keys(memory)
    assert 1 == sweep()
    assert ["FORMAT", "accounts/bert/account"] == keys(memory)
    assert records.create(NAME, b"new")


def test_record_that_is_created_again_meanwhile_is_kept(records, sweep):
    remove(records)

    def create():
        records.seconds = 30
        assert records.create(NAME, b"new")
        records.seconds = 200

    assert 0 == sweep(meanwhile=create)
    assert b"new" == records.read(NAME)


def test_record_is_not_created_while_its_object_may_be_deleted(records, sweep):
    remove(records)

    def create():
        with pytest.raises(EngineError):
            records.create(NAME, b"new")
        assert records.read(NAME) is None

    assert 1 == sweep(meanwhile=create)
    assert records.create(NAME, b"new")


def test_process_that_was_stopped_deletes_nothing(records, memory, sweep):
    remove(records)
    assert 0 == sweep(seconds=1000)
    assert NAME in keys(memory)
    records.seconds = 2000
    assert records.create(NAME, b"new")


def test_record_of_a_dead_sweep_is_deleted_by_the_next(records, memory, sweep):
    remove(records)

    def die():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        sweep(meanwhile=die)
    assert 1 == sweep()
    assert ["FORMAT"] == keys(memory)


def test_locks_and_probes_of_dead_processes_are_deleted_after_a_day(memory, sweep):
    for key in (f"holders/{NAME}/0123456789abcdef", "tmp/probe-0123456789abcdef"):
        memory.put(key, b"\n")
    assert 0 == sweep()
    assert ["FORMAT"] == keys(memory)


def test_lock_of_a_dead_process_delays_a_change_and_does_not_prevent_it(records, memory, monkeypatch):
    records.create(NAME, b"old")
    memory.put(f"holders/{NAME}/0123456789abcdef", b"\n")
    monkeypatch.setattr(records, "_max_held_seconds", 0.1)
    assert records.replace(NAME, b"old", b"new")
    assert ["FORMAT", NAME] == keys(memory)


def test_removed_record_that_was_copied_to_a_disk_is_absent(place):
    prepare(place, "images")
    records = DiskRecords(place)
    records.create(NAME, removed())
    assert records.read(NAME) is None
    assert [] == list(records.read_all("accounts/anna"))
    assert records.create(NAME, b"new")
    assert b"new" == records.read(NAME)
    records.close()
