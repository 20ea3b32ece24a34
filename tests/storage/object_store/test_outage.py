"""Outage: the circuit breaker of requests to an object store."""

import pytest

from filestored.errors import EngineUnavailable
from filestored.storage.object_store.outage import RETRY_SECONDS, Outage


class Seconds:
    """A clock that stands still."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Seconds()


@pytest.fixture
def outage(clock):
    return Outage(clock)


def passes(outage):
    try:
        outage.check()
    except EngineUnavailable:
        return False
    return True


def test_requests_pass_while_there_is_none(outage):
    assert [True] * 3 == [passes(outage) for _ in range(3)]


def test_requests_fail_at_once_with_the_reason(outage):
    assert "gone" == outage.begin("gone").reason
    with pytest.raises(EngineUnavailable) as caught:
        outage.check()
    assert "gone" == caught.value.reason


def test_one_request_passes_in_each_interval(outage, clock):
    outage.begin("gone")
    seen = []
    for _ in range(3):
        clock.now += RETRY_SECONDS
        seen += [passes(outage), passes(outage)]
    assert [True, False] * 3 == seen


def test_failed_attempt_prolongs_it(outage, clock):
    outage.begin("gone")
    clock.now += RETRY_SECONDS
    assert passes(outage)
    outage.begin("still gone")
    assert not passes(outage)


def test_success_ends_it(outage):
    outage.begin("gone")
    outage.end()
    assert [True] * 3 == [passes(outage) for _ in range(3)]
