"""Cancellation of steps: the one in progress and all later ones."""

from twisted.internet.defer import CancelledError, Deferred

from filestored.images.cancellation import Cancellation


def outcome(deferred):
    """Return the result, or the type of the error; None when there is none yet."""
    found = []
    deferred.addBoth(found.append)
    return getattr(found[0], "type", found[0]) if found else None


def test_cancellation_ends_the_step_under_way():
    cancellation, step = Cancellation(), Deferred()
    waiting = Deferred.fromCoroutine(cancellation.wait(step))
    cancellation.cancel()
    cancellation.cancel()
    assert outcome(waiting) is CancelledError


def test_cancellation_ends_each_later_step():
    cancellation, step = Cancellation(), Deferred()
    cancellation.cancel()
    assert outcome(Deferred.fromCoroutine(cancellation.wait(step))) is CancelledError


def test_error_of_a_cancelled_step_is_cancelled_error():
    cancellation = Cancellation()
    step = Deferred(lambda step: step.errback(OSError("killed")))
    waiting = Deferred.fromCoroutine(cancellation.wait(step))
    cancellation.cancel()
    assert outcome(waiting) is CancelledError


def test_cancellation_after_the_step_changes_nothing():
    cancellation, step = Cancellation(), Deferred()
    waiting = Deferred.fromCoroutine(cancellation.wait(step))
    step.callback("done")
    cancellation.cancel()
    assert outcome(waiting) == "done"


def test_error_of_a_step_not_cancelled_is_raised():
    waiting = Deferred.fromCoroutine(Cancellation().wait(step := Deferred()))
    step.errback(OSError())
    assert outcome(waiting) is OSError
