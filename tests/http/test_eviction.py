"""Eviction of connections: the table of ranks, and the order of eviction."""

from math import inf

import pytest

from filestored.http.eviction import (
    MIN_BODY_RATE,
    MIN_IDLE_SECONDS,
    MIN_STALL_SECONDS,
    Eviction,
    rank,
)
from filestored.http.state import ConnectionState


@pytest.mark.parametrize(
    ("state", "seconds", "stalled", "rate", "expected"),
    [
        (ConnectionState.IDLE, MIN_IDLE_SECONDS, None, inf, (0, -MIN_IDLE_SECONDS)),
        (ConnectionState.HEAD, 5, None, inf, (0, -5)),
        (ConnectionState.LINGER, 5, 50, inf, (0, -5)),
        (ConnectionState.IDLE, MIN_IDLE_SECONDS - 0.1, None, inf, None),
        (ConnectionState.RESPONSE, 100, None, inf, None),
        (ConnectionState.RESPONSE, 100, MIN_STALL_SECONDS, inf, (1, -MIN_STALL_SECONDS)),
        (ConnectionState.RESPONSE, 100, MIN_STALL_SECONDS - 0.1, 0, None),
        (ConnectionState.BODY, 100, None, MIN_BODY_RATE - 1, (2, MIN_BODY_RATE - 1)),
        (ConnectionState.BODY, 100, None, MIN_BODY_RATE, None),
        (ConnectionState.CLOSED, 100, 100, 0, None),
    ],
)
def test_rank_of_a_connection(state, seconds, stalled, rate, expected):
    assert expected == rank(state, seconds, stalled, rate)


class RankedConnection:
    """A connection of a given rank, which counts how often it was ended."""

    def __init__(self, rank):
        self.rank = rank
        self.expired = 0

    def eviction_rank(self, now):
        return self.rank

    def expire(self):
        self.expired += 1
        self.rank = None


def test_eviction_follows_the_ranks():
    connections = [RankedConnection(each) for each in [(2, 1.0), (0, -5.0), None, (0, -9.0), (1, -20.0)]]
    eviction, order = Eviction(), []
    while eviction.evict(connections, 1.0):
        order.append(next(i for i, each in enumerate(connections) if each.expired and i not in order))
    assert [3, 1, 4, 0] == order


def test_eviction_skips_a_connection_that_is_used_again():
    connections = [RankedConnection((0, -9.0)), RankedConnection((0, -5.0)), RankedConnection((0, -1.0))]
    eviction = Eviction()
    assert eviction.evict(connections, 1.0)
    connections[1].rank = None
    assert eviction.evict(connections, 1.0)
    assert [1, 0, 1] == [each.expired for each in connections]


def test_eviction_order_is_computed_again_after_a_poll():
    eviction = Eviction()
    assert not eviction.evict([RankedConnection(None)], 1.0)
    late = RankedConnection((0, -9.0))
    assert not eviction.evict([late], 1.0)
    assert eviction.evict([late], 1.5)
