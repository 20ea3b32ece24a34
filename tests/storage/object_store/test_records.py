"""Records as objects: removed records, holders, lost answers."""

import threading

import pytest

from filestored.errors import EngineError
from filestored.storage.removed_records import being_deleted, is_removed, removed

pytestmark = pytest.mark.needs("obstore")

NAME = "accounts/anna/names/cat.png"
ACCOUNT = "accounts/anna/account"


@pytest.fixture
def records(prepared):
    from filestored.storage.object_store.records import ObjectRecords

    return ObjectRecords(prepared)


def removed_record(records):
    assert records.create(NAME, b"first")
    assert records.remove(NAME, b"first")


def test_removed_record_is_absent_and_can_be_created_again(records, prepared):
    removed_record(records)
    assert is_removed(prepared.read(NAME)[0])
    assert (None, []) == (records.read(NAME), records.names("accounts"))
    assert not records.replace(NAME, b"first", b"second")
    assert records.create(NAME, b"second")
    assert b"second" == records.read(NAME)


def test_values_of_removed_records_differ():
    values = {removed() for _ in range(10)} | {being_deleted() for _ in range(10)}
    assert 20 == len(values)
    assert all(map(is_removed, values))
    assert not is_removed(b"filestored: this record was removed\n")


def test_context_leaves_no_holder(records, prepared):
    records.create(ACCOUNT, b"old")
    with records.held(ACCOUNT, b"old") as is_held:
        assert is_held
        assert 1 == len(prepared.entries(f"holders/{ACCOUNT}"))
    with records.held(ACCOUNT, b"other") as is_held:
        assert not is_held
        assert [] == prepared.entries(f"holders/{ACCOUNT}")
    assert [] == prepared.entries(f"holders/{ACCOUNT}")


def test_change_of_a_record_that_cannot_be_held_looks_for_no_holder(records):
    records.create(NAME, b"old")
    with pytest.raises(AssertionError), records.held(NAME, b"old"):
        pass


def test_lost_answer_to_a_removal_is_told_by_the_value(records, prepared, requests):
    records.create(NAME, b"old")
    requests.fail("put", NAME, applied=True)
    assert records.remove(NAME, b"old")
    records.create(NAME, b"old")
    requests.fail("put", NAME, applied=True, then=lambda: prepared.put(NAME, removed()))
    with pytest.raises(EngineError):
        records.remove(NAME, b"old")


def test_many_records_are_read_at_once_and_in_order(records):
    names = [f"{number:03}" for number in range(100)]
    for name in names:
        records.create(f"accounts/anna/names/{name}", name.encode())
    before = threading.active_count()
    assert [(name, name.encode()) for name in names] == list(records.read_all("accounts/anna/names"))
    assert before == threading.active_count()
