"""Fair queue: a bounded number of slots, shared round robin between owners.

In: the name of an owner and a function. Out: the result of the function, called when a slot was free.

An owner holds one slot at a time, so many jobs of one owner delay no other. Free slots go round robin over
the waiting owners; jobs of one owner run in order of arrival. A job that is cancelled while it waits leaves
the queue. A minor job never occupies the last free slot, unless there is only one.

Bounds: `max_waiting_each` jobs of one owner wait, and `max_waiting` in all. In a full queue a new job
displaces the last job of the owner with the most waiting, so a few owners with many jobs keep no other out.

Rejected: one queue in order of arrival, in which an owner with many jobs delays all others.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred

from filestored.errors import Overloaded

_T = TypeVar("_T")


class _Ticket:
    """A waiting job of `owner`; `ready` fires when it has a slot."""

    def __init__(self, owner: str, minor: bool, withdraw: "Callable[[_Ticket], None]") -> None:
        self.owner = owner
        self.minor = minor
        self.ready: Deferred[None] = Deferred(lambda _: withdraw(self))


class FairQueue:
    """Runs `slots` jobs at once, each of another owner."""

    def __init__(self, slots: int, *, max_waiting: int, max_waiting_each: int) -> None:
        self._slots = slots
        self._max_minor = max(1, slots - 1)
        self._max_waiting = max_waiting
        self._max_waiting_each = max_waiting_each
        self._waiting: dict[str, deque[_Ticket]] = {}  # in round-robin order
        self._running: dict[str, _Ticket] = {}
        self._serving = False

    async def run(self, owner: str, function: Callable[[], Awaitable[_T]], *, minor: bool = False) -> _T:
        """Call `function` when `owner` gets a slot. Raises `Overloaded` beyond the bounds."""
        ticket = _Ticket(owner, minor, self._withdraw)
        self._waiting.setdefault(owner, deque()).append(ticket)
        self._serve()
        if not ticket.ready.called:
            self._keep_bounds(owner)
        await ticket.ready
        try:
            return await function()
        finally:
            del self._running[owner]
            self._serve()

    def _keep_bounds(self, owner: str) -> None:
        """Refuse the last job of `owner`, or displace one of another owner, if too many wait."""
        mine = self._waiting[owner]
        longest = max(self._waiting.values(), key=lambda tickets: (len(tickets), tickets is mine))
        if len(mine) > self._max_waiting_each:
            self._refuse(mine[-1])
        elif sum(map(len, self._waiting.values())) > self._max_waiting:
            self._refuse(longest[-1])

    def _refuse(self, ticket: _Ticket) -> None:
        self._withdraw(ticket)
        ticket.ready.errback(Overloaded())

    def _withdraw(self, ticket: _Ticket) -> None:
        tickets = self._waiting[ticket.owner]
        tickets.remove(ticket)
        if not tickets:
            del self._waiting[ticket.owner]

    def _serve(self) -> None:
        """Start all jobs that may start. A job that ends at once calls this again; the loop notices."""
        if self._serving:
            return
        self._serving = True
        try:
            while len(self._running) < self._slots and (ticket := self._next()) is not None:
                self._start(ticket)
        finally:
            self._serving = False

    def _start(self, ticket: _Ticket) -> None:
        self._withdraw(ticket)
        if ticket.owner in self._waiting:  # its next job comes after those of all others
            self._waiting[ticket.owner] = self._waiting.pop(ticket.owner)
        self._running[ticket.owner] = ticket
        ticket.ready.callback(None)

    def _next(self) -> _Ticket | None:
        """Return the next job that may start: the first of the first waiting owner without a slot."""
        minor_allowed = sum(ticket.minor for ticket in self._running.values()) < self._max_minor
        for owner, tickets in self._waiting.items():
            if owner not in self._running:
                for ticket in tickets:
                    if minor_allowed or not ticket.minor:
                        return ticket
        return None
