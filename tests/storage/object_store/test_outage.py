"""Outage of an object store: one request in a second may try it, and the first success ends it."""

import pytest
from twisted.internet.task import Clock

from filestored.errors import EngineUnavailable
from filestored.storage.object_store.outage import RETRY_SECONDS, Outage


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outage(clock):
    return Outage(clock.seconds)


def test_requests_go_on_without_an_outage(outage):
    assert [None] * 3 == [outage.check() for _ in range(3)]


def test_requests_of_an_outage_fail_with_its_reason(outage):
    assert isinstance(outage.begin("it does not answer"), EngineUnavailable)
    with pytest.raises(EngineUnavailable) as caught:
        outage.check()
    assert "it does not answer" == caught.value.reason


def test_one_request_in_a_second_is_let_through(outage, clock):
    outage.begin("gone")
    for _ in range(3):
        clock.advance(RETRY_SECONDS)
        outage.check()
        for _ in range(3):
            with pytest.raises(EngineUnavailable):
                outage.check()


def test_first_success_ends_an_outage(outage):
    outage.begin("gone")
    outage.end()
    assert [None] * 3 == [outage.check() for _ in range(3)]


def test_failed_attempt_prolongs_an_outage(outage, clock):
    outage.begin("gone")
    clock.advance(RETRY_SECONDS)
    outage.check()
    outage.begin("still gone")
    clock.advance(RETRY_SECONDS / 2)
    with pytest.raises(EngineUnavailable):
        outage.check()
