"""Client of an object store: outcomes of lost answers, and absence told from an outage."""

import pytest

from filestored.errors import EngineError, EngineUnavailable, OutcomeUnknown
from filestored.storage.object_store.client import FORMAT

pytestmark = pytest.mark.needs("obstore")

KEY = "accounts/anna/account"


@pytest.mark.parametrize("applied", [False, True])
def test_create_without_an_answer_is_repeated(client, requests, applied):
    requests.fail("put", KEY, applied=applied)
    assert client.create(KEY, b"ours")
    assert b"ours" == client.read(KEY)[0]


@pytest.mark.parametrize("applied", [False, True])
def test_replace_without_an_answer_is_repeated(client, requests, applied):
    client.create(KEY, b"old")
    version = client.head(KEY).version
    requests.fail("put", KEY, applied=applied)
    assert client.replace(KEY, b"ours", version)
    assert b"ours" == client.read(KEY)[0]


def test_create_that_met_another_one_after_a_lost_answer_is_unknown(client, requests):
    requests.fail("put", KEY, applied=True, then=lambda: client.put(KEY, b"theirs"))
    with pytest.raises(OutcomeUnknown):
        client.create(KEY, b"ours")
    assert b"theirs" == client.read(KEY)[0]


def test_replace_that_met_another_one_after_a_lost_answer_is_unknown(client, requests):
    client.create(KEY, b"old")
    version = client.head(KEY).version
    requests.fail("put", KEY, applied=True, then=lambda: client.put(KEY, b"theirs"))
    with pytest.raises(OutcomeUnknown):
        client.replace(KEY, b"ours", version)


def test_condition_that_does_not_hold_is_no_error(client):
    client.create(KEY, b"old")
    version = client.head(KEY).version
    client.put(KEY, b"theirs")
    assert not client.create(KEY, b"ours")
    assert not client.replace(KEY, b"ours", version)
    assert b"theirs" == client.read(KEY)[0]


@pytest.mark.parametrize("verb", ["head", "get", "read"])
def test_absence_is_confirmed_by_format(client, requests, verb):
    with pytest.raises(FileNotFoundError):
        getattr(client, verb)("missing")
    assert FORMAT == requests.made[-1][1].rpartition("/")[2]


@pytest.mark.parametrize("verb", ["head", "get", "read"])
def test_missing_store_is_an_outage_and_no_absence(client, verb):
    client.delete(FORMAT)
    for _ in range(2):
        with pytest.raises(EngineUnavailable):
            getattr(client, verb)("missing")


def test_requests_fail_at_once_during_an_outage(client, requests):
    client.create(KEY, b"x")
    requests.fail("get", KEY)
    requests.fail("get", FORMAT)
    for _ in range(5):
        with pytest.raises(EngineUnavailable):
            client.read(KEY)
    assert 3 == len(requests.made)
    client.confirm_format()
    assert b"x" == client.read(KEY)[0]


def test_failure_of_one_object_is_no_outage(client, requests):
    client.create(KEY, b"x")
    requests.fail("get", KEY)
    with pytest.raises(EngineError) as caught:
        client.read(KEY)
    assert EngineError is type(caught.value)
    assert b"x" == client.read(KEY)[0]


def test_error_tells_clients_nothing_about_the_store(client, requests):
    requests.fail("get", KEY)
    with pytest.raises(EngineError) as caught:
        client.read(KEY)
    assert "The object store could not do this now; try again." == str(caught.value)
    assert str(client.url) in caught.value.reason
    assert "502" in caught.value.reason


def test_objects_are_listed_in_order_after_a_key(client):
    for name in ("b/2", "a/1", "b/10", "c"):
        client.put(name, b"x")
    assert [FORMAT, "a/1", "b/10", "b/2", "c"] == [each.key for each in client.objects()]
    assert ["b/2", "c"] == [each.key for each in client.objects(after="b/10")]
    assert ["b/10", "b/2"] == [each.key for each in client.objects("b")]
    assert ["10", "2"] == client.entries("b")
