"""Records as objects: removed records, their deletion, holders of dead processes, lost answers."""

import threading
from datetime import timedelta

import pytest

from filestored.errors import EngineError
from filestored.storage.removed_records import being_deleted, is_removed, removed

pytestmark = pytest.mark.needs("obstore")

NAME = "accounts/anna/names/cat.png"
ACCOUNT = "accounts/anna/account"
DAY = 24 * 60 * 60


class Clock:
    """The time of the service: objects written before a step are older by it."""

    def __init__(self, monkeypatch, records):
        self._client = records._client
        self._offsets = {}
        self._now = timedelta()
        kind, client = type(records), records._client
        read, objects, now = client.read, client.objects, kind._now

        def aged(info):
            offset = self._offsets.setdefault((info.key, info.etag), self._now)
            return type(info)(info.key, info.size, info.changed - self._now + offset, info.version)

        monkeypatch.setattr(client, "read", lambda key: (lambda value, info: (value, aged(info)))(*read(key)))
        monkeypatch.setattr(client, "objects", lambda *words: [aged(info) for info in objects(*words)])
        monkeypatch.setattr(kind, "_now", lambda self: now(self))

    def step(self, seconds):
        self._client.objects()  # from now on their age is known
        self._now += timedelta(seconds=seconds)


@pytest.fixture
def records(client):
    from filestored.storage.object_store.records import ObjectRecords

    return ObjectRecords(client)


@pytest.fixture
def clock(monkeypatch, records):
    return Clock(monkeypatch, records)


def removed_record(records):
    assert records.create(NAME, b"first")
    assert records.remove(NAME, b"first")


def no_pause(seconds):
    pass


def test_removed_record_is_absent_and_can_be_created_again(records, client):
    removed_record(records)
    assert is_removed(client.read(NAME)[0])
    assert (None, []) == (records.read(NAME), records.names("accounts"))
    assert not records.replace(NAME, b"first", b"second")
    assert records.create(NAME, b"second")
    assert b"second" == records.read(NAME)


def test_values_of_removed_records_differ():
    values = {removed() for _ in range(10)} | {being_deleted() for _ in range(10)}
    assert 20 == len(values)
    assert all(map(is_removed, values))
    assert not is_removed(b"filestored: this record was removed\n")


def test_removed_record_is_deleted_after_a_day(records, client, clock):
    removed_record(records)
    records.create(ACCOUNT, b"x")
    clock.step(DAY - 60)
    assert 0 == records.sweep_removed("accounts", no_pause)
    clock.step(120)
    assert 1 == records.sweep_removed("accounts", no_pause)
    assert [ACCOUNT] == [each.key for each in client.objects("accounts")]


def test_record_that_is_created_again_meanwhile_is_not_deleted(records, clock):
    removed_record(records)
    clock.step(2 * DAY)
    assert 0 == records.sweep_removed("accounts", lambda seconds: seconds and records.create(NAME, b"second"))
    assert b"second" == records.read(NAME)


@pytest.mark.parametrize(
    ("age", "is_created"), [(0, True), (59, True), (61, False), (1799, False), (1801, True), (DAY, True)]
)
def test_record_about_to_be_deleted_is_created_early_or_late(records, client, clock, age, is_created):
    client.put(NAME, being_deleted())
    assert records.read(NAME) is None
    clock.step(age)
    if is_created:
        assert records.create(NAME, b"second")
        assert b"second" == records.read(NAME)
    else:
        with pytest.raises(EngineError):
            records.create(NAME, b"second")


def test_process_that_was_stopped_deletes_nothing(records, client, clock):
    removed_record(records)
    clock.step(2 * DAY)
    assert 0 == records.sweep_removed("accounts", lambda seconds: seconds and clock.step(1000))
    assert is_removed(client.read(NAME)[0])


def test_sweep_deletes_what_dead_processes_have_left(records, client, clock):
    for key in ("tmp/clock-1", f"holders/{ACCOUNT}/1"):
        client.put(key, b"\n")
    records.sweep_removed("accounts", no_pause)
    assert 2 == len([each for each in client.objects() if each.key.startswith(("tmp/", "holders/"))])
    clock.step(2 * DAY)
    records.sweep_removed("accounts", no_pause)
    assert [] == [each.key for each in client.objects() if each.key.startswith(("tmp/", "holders/"))]


def test_change_waits_no_longer_than_a_context_may_last(records, client):
    records.create(ACCOUNT, b"old")
    client.put(f"holders/{ACCOUNT}/dead", b"\n")
    records._max_held_seconds = 0.2
    assert records.replace(ACCOUNT, b"old", b"new")
    assert [] == client.entries(f"holders/{ACCOUNT}")


def test_context_leaves_no_holder(records, client):
    records.create(ACCOUNT, b"old")
    with records.held(ACCOUNT, b"old") as is_held:
        assert is_held
        assert 1 == len(client.entries(f"holders/{ACCOUNT}"))
    with records.held(ACCOUNT, b"other") as is_held:
        assert not is_held
        assert [] == client.entries(f"holders/{ACCOUNT}")
    assert [] == client.entries(f"holders/{ACCOUNT}")


def test_change_of_a_record_that_cannot_be_held_looks_for_no_holder(records):
    records.create(NAME, b"old")
    with pytest.raises(AssertionError), records.held(NAME, b"old"):
        pass


def test_lost_answer_to_a_removal_is_told_by_the_value(records, client, requests):
    records.create(NAME, b"old")
    requests.fail("put", NAME, applied=True)
    assert records.remove(NAME, b"old")
    records.create(NAME, b"old")
    requests.fail("put", NAME, applied=True, then=lambda: client.put(NAME, removed()))
    with pytest.raises(EngineError):
        records.remove(NAME, b"old")


def test_many_records_are_read_at_once_and_in_order(records):
    names = [f"{number:03}" for number in range(100)]
    for name in names:
        records.create(f"accounts/anna/names/{name}", name.encode())
    before = threading.active_count()
    assert [(name, name.encode()) for name in names] == list(records.read_all("accounts/anna/names"))
    assert before == threading.active_count()
