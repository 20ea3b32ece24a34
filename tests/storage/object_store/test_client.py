"""Client of an object store: outcomes of lost answers, and absence told from an outage."""

import pytest

from filestored.errors import EngineError, EngineUnavailable, OutcomeUnknown
from filestored.storage.object_store.client import FORMAT

pytestmark = pytest.mark.needs("obstore")

KEY = "accounts/anna/account"


@pytest.mark.parametrize("applied", [False, True])
def test_create_without_an_answer_is_repeated(prepared, requests, applied):
    requests.fail("put", KEY, applied=applied)
    assert prepared.create(KEY, b"ours")
    assert b"ours" == prepared.read(KEY)[0]


@pytest.mark.parametrize("applied", [False, True])
def test_replace_without_an_answer_is_repeated(prepared, requests, applied):
    prepared.create(KEY, b"old")
    version = prepared.head(KEY).version
    requests.fail("put", KEY, applied=applied)
    assert prepared.replace(KEY, b"ours", version)
    assert b"ours" == prepared.read(KEY)[0]


def test_create_that_met_another_one_after_a_lost_answer_is_unknown(prepared, requests):
    requests.fail("put", KEY, applied=True, then=lambda: prepared.put(KEY, b"theirs"))
    with pytest.raises(OutcomeUnknown):
        prepared.create(KEY, b"ours")
    assert b"theirs" == prepared.read(KEY)[0]


def test_replace_that_met_another_one_after_a_lost_answer_is_unknown(prepared, requests):
    prepared.create(KEY, b"old")
    version = prepared.head(KEY).version
    requests.fail("put", KEY, applied=True, then=lambda: prepared.put(KEY, b"theirs"))
    with pytest.raises(OutcomeUnknown):
        prepared.replace(KEY, b"ours", version)


def test_condition_that_does_not_hold_is_no_error(prepared):
    prepared.create(KEY, b"old")
    version = prepared.head(KEY).version
    prepared.put(KEY, b"theirs")
    assert not prepared.create(KEY, b"ours")
    assert not prepared.replace(KEY, b"ours", version)
    assert b"theirs" == prepared.read(KEY)[0]


@pytest.mark.parametrize("verb", ["head", "get", "read"])
def test_absence_is_confirmed_by_format(prepared, requests, verb):
    with pytest.raises(FileNotFoundError):
        getattr(prepared, verb)("missing")
    assert FORMAT == requests.made[-1][1].rpartition("/")[2]


@pytest.mark.parametrize("verb", ["head", "get", "read"])
def test_missing_store_is_an_outage_and_no_absence(prepared, verb):
    prepared.delete(FORMAT)
    for _ in range(2):
        with pytest.raises(EngineUnavailable):
            getattr(prepared, verb)("missing")


def test_requests_fail_at_once_during_an_outage(prepared, requests):
    prepared.create(KEY, b"x")
    requests.fail("get", KEY)
    requests.fail("get", FORMAT)
    for _ in range(5):
        with pytest.raises(EngineUnavailable):
            prepared.read(KEY)
    assert 3 == len(requests.made)
    prepared.confirm_format()
    assert b"x" == prepared.read(KEY)[0]


def test_failure_of_one_object_is_no_outage(prepared, requests):
    prepared.create(KEY, b"x")
    requests.fail("get", KEY)
    with pytest.raises(EngineError) as caught:
        prepared.read(KEY)
    assert EngineError is type(caught.value)
    assert b"x" == prepared.read(KEY)[0]


def test_error_tells_clients_nothing_about_the_store(prepared, requests):
    requests.fail("get", KEY)
    with pytest.raises(EngineError) as caught:
        prepared.read(KEY)
    assert "The object store could not do this now; try again." == str(caught.value)
    assert str(prepared.url) in caught.value.reason
    assert "502" in caught.value.reason


def test_objects_are_listed_in_order_after_a_key(prepared):
    for name in ("b/2", "a/1", "b/10", "c"):
        prepared.put(name, b"x")
    assert [FORMAT, "a/1", "b/10", "b/2", "c"] == [each.key for each in prepared.objects()]
    assert ["b/2", "c"] == [each.key for each in prepared.objects(after="b/10")]
    assert ["b/10", "b/2"] == [each.key for each in prepared.objects("b")]
    assert ["10", "2"] == prepared.entries("b")


@pytest.mark.parametrize("verb", ["head", "get", "read"])
def test_condition_that_no_request_had_is_an_error_of_the_engine(prepared, requests, verb):
    from obstore.exceptions import PreconditionError

    prepared.create(KEY, b"x")
    requests.fail("head" if verb == "head" else "get", KEY, error=PreconditionError)
    with pytest.raises(EngineError):
        getattr(prepared, verb)(KEY)
