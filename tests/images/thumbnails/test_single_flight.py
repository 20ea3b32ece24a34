"""Single flight: one piece of work for identical calls, cancelled when all of them are."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from filestored.images.thumbnails.single_flight import SingleFlight


@pytest.fixture
def flight():
    return SingleFlight()


def outcome(deferred):
    found = []
    deferred.addBoth(found.append)
    return getattr(found[0], "type", found[0]) if found else None


def test_identical_calls_share_the_work_and_its_result(flight):
    works = []

    def start():
        works.append(Deferred())
        return works[-1]

    calls = [flight.run("a", start), flight.run("a", start), flight.run("b", start)]
    assert (len(works), "a" in flight, "c" in flight) == (2, True, False)
    works[0].callback("thumbnail")
    assert [outcome(call) for call in calls] == ["thumbnail", "thumbnail", None]
    assert "a" not in flight


def test_a_failure_reaches_all_calls(flight):
    work = Deferred()
    calls = [flight.run("a", lambda: work) for _ in range(2)]
    work.errback(OSError())
    assert [outcome(call) for call in calls] == [OSError, OSError]


def test_work_is_cancelled_with_its_last_call_only(flight):
    cancelled = []
    work = Deferred(cancelled.append)
    calls = [flight.run("a", lambda: work) for _ in range(2)]
    calls[0].cancel()
    assert (outcome(calls[0]), cancelled) == (CancelledError, [])
    calls[1].cancel()
    assert (outcome(calls[1]), cancelled) == (CancelledError, [work])


def test_call_after_cancellation_of_all_others_starts_again(flight):
    slow_to_end = Deferred(lambda _: None)
    work = Deferred(lambda _: slow_to_end.callback(None))
    flight.run("a", lambda: work.addErrback(lambda _: Deferred())).addErrback(lambda _: None).cancel()
    assert "a" not in flight
    again = Deferred()
    call = flight.run("a", lambda: again)
    again.callback("fresh")
    assert outcome(call) == "fresh"


def test_work_that_ends_at_once_is_not_kept(flight):
    done = Deferred()
    done.callback("quick")
    assert outcome(flight.run("a", lambda: done)) == "quick"
    assert "a" not in flight


# --- cancellation ------------------------------------------------------------------------------------
