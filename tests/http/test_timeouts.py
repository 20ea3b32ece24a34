"""Connection timeouts: tables of states, and counters over time."""

from math import inf

import pytest

from filestored.http.limits import Limits
from filestored.http.state import ConnectionState
from filestored.http.timeouts import MIN_RATE_SECONDS, MinRate, StallTimer, Timeouts

LIMITS = Limits()


@pytest.mark.parametrize(
    ("state", "limit"),
    [
        (ConnectionState.IDLE, LIMITS.keep_alive_timeout),
        (ConnectionState.HEAD, LIMITS.head_timeout),
        (ConnectionState.BODY_FAILED, LIMITS.write_timeout),
    ],
)
def test_state_expires_after_its_timeout(state, limit):
    timeouts = Timeouts(LIMITS)
    assert not timeouts.is_expired(state, limit)
    assert timeouts.is_expired(state, limit + 0.001)


@pytest.mark.parametrize(
    ("polls", "expired"),
    [
        ([(0, 0), (4.9, 0)], False),
        ([(0, 0), (5, 0)], True),
        ([(0, 0), (4.9, 1), (9.8, 1)], False),
        ([(0, 0), (4.9, 1), (9.9, 1)], True),
        ([(second, second) for second in range(31)], False),
        ([(second, second) for second in range(32)], True),
    ],
    ids=["short silence", "silence", "bytes in between", "silence after bytes", "30 s", "more than 30 s"],
)
def test_lingering_ends_after_5_seconds_of_silence_or_30_in_all(polls, expired):
    timeouts = Timeouts(LIMITS)
    assert (
        expired
        == [timeouts.linger_expired(now, now, discarded, draining=False) for now, discarded in polls][-1]
    )


def test_lingering_ends_after_2_seconds_while_the_server_drains():
    timeouts = Timeouts(LIMITS)
    assert not timeouts.linger_expired(2.0, 2.0, 1, draining=True)
    assert timeouts.linger_expired(2.5, 2.5, 2, draining=True)


@pytest.mark.parametrize("state", [ConnectionState.BODY, ConnectionState.RESPONSE, ConnectionState.CLOSED])
def test_state_without_timeout_never_expires(state):
    assert not Timeouts(LIMITS).is_expired(state, 1e9)


@pytest.mark.parametrize(
    ("polls", "expired"),
    [
        ([(0, 5), (9.9, 5)], False),
        ([(0, 5), (10, 5)], True),
        ([(0, 5), (9.9, 6), (10, 6)], False),
        ([(0, 5), (9.9, 6), (19.9, 6)], True),
        ([(1000, 0)], False),
    ],
)
def test_stall_timer_expires_when_the_counter_stands_still(polls, expired):
    timer = StallTimer(10)
    assert expired == [timer.expired(*poll) for poll in polls][-1]


def test_stall_timer_reports_seconds_since_growth():
    timer = StallTimer(10)
    assert timer.seconds(0) is None
    timer.expired(1, 5)
    timer.expired(3, 5)
    assert 2 == timer.seconds(3)
    timer.reset()
    assert timer.seconds(3) is None


@pytest.mark.parametrize(
    ("polls", "expired"),
    [
        ([(0, 0), (59, 0)], False),
        ([(0, 0), (60, 59)], True),
        ([(0, 0), (60, 60)], False),
        ([(0, 0), (60, 60), (119, 60)], False),
        ([(0, 0), (60, 60), (120, 119)], True),
        ([(0, 1000), (60, 1059)], True),
    ],
)
def test_minimum_rate_is_checked_at_the_end_of_each_window(polls, expired):
    rate = MinRate(window=60, rate=1)
    assert expired == [rate.expired(*poll) for poll in polls][-1]


def test_rate_is_infinite_until_it_can_be_measured():
    rate = MinRate(window=60, rate=1)
    assert inf == rate.rate(100, 5)
    rate.expired(0, 0)
    assert inf == rate.rate(MIN_RATE_SECONDS - 0.1, 100)
    assert 20 == rate.rate(MIN_RATE_SECONDS, 20 * MIN_RATE_SECONDS)


def test_body_that_is_not_wanted_does_not_expire():
    timeouts = Timeouts(LIMITS)
    assert not timeouts.body_expired(True, 0, 5)
    assert timeouts.measures_body
    assert not timeouts.body_expired(False, 1000, 5)
    assert not timeouts.measures_body


def test_output_that_is_not_pending_does_not_expire():
    timeouts = Timeouts(LIMITS)
    timeouts.write_expired(True, 0, 5)
    assert 1 == timeouts.write_stalled_seconds(1)
    assert not timeouts.write_expired(False, 1000, 5)
    assert timeouts.write_stalled_seconds(1000) is None
