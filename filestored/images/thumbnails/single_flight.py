"""Single flight: concurrent identical work is done once.

In: a key and a function that starts the work. Out: a Deferred for each caller, with the one result. A caller
may cancel its Deferred; the work itself is cancelled when all callers have done so.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_T = TypeVar("_T")


class SingleFlight(Generic[_T]):
    """Work in progress by its key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[_T]] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Return whether work of that key is in progress."""
        return key in self._flights

    def run(self, key: Hashable, start: "Callable[[], Deferred[_T]]") -> "Deferred[_T]":
        """Return the result of the work of that key, started by `start` unless it is in progress."""
        flight = self._flights.get(key)
        if flight is not None:
            return flight.join()
        flight = self._flights[key] = _Flight(partial(self._flights.pop, key))
        joined = flight.join()
        flight.follow(start())
        return joined


class _Flight(Generic[_T]):
    """One piece of work and its callers. `ended` is called when no caller can join any more."""

    _work: "Deferred[_T]"

    def __init__(self, ended: Callable[[], object]) -> None:
        self._ended = ended
        self._waiting: list[Deferred[_T]] = []
        self._abandoned = False

    def join(self) -> "Deferred[_T]":
        """Return a Deferred of the result."""
        waiter: Deferred[_T] = Deferred(self._leave)
        self._waiting.append(waiter)
        return waiter

    def follow(self, work: "Deferred[_T]") -> None:
        """Pass on the result of `work`."""
        self._work = work
        work.addBoth(self._deliver)

    def _deliver(self, result: _T | Failure) -> None:
        """Fire all waiting Deferreds. The result of abandoned work is dropped."""
        if not self._abandoned:
            self._ended()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(result)

    def _leave(self, waiter: "Deferred[_T]") -> None:
        self._waiting.remove(waiter)
        if not self._waiting:
            self._abandoned = True
            self._ended()
            self._work.cancel()
