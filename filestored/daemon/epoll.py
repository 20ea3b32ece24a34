"""All connections of one process, watched in a set of their own.

A `EpollSet` is an epoll(7) set that the reactor sees as one descriptor: readable when something has happened
to any connection in it. Then all that has happened is dealt with at once, without what Twisted's reactor puts
around each single event (a logging context, two looks at the descriptor). Timers, threads and signals stay
with the reactor, whichever it is.

To what it watches the hub is the reactor: it takes readers and writers itself, and passes the rest on. It
goes by who they are rather than by their numbers: the kernel drops a descriptor that is closed without a word
to us, and the next connection gets its number.

Measured with 4 KiB downloads on 16 connections: an eighth more requests a second. Rejected: a reactor of
our own, because which one runs is for whoever starts twistd to say.
"""

from contextlib import suppress
from dataclasses import dataclass
from select import EPOLLIN, EPOLLOUT, epoll
from typing import Any, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet, IReadDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

TURN = 256
"""Events that are dealt with before the reactor has its turn."""

_log = Logger()


@implementer(IReactorFDSet, IReadDescriptor)
class EpollSet:
    """The descriptors that `reactor` leaves to us, until `close`."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._set = epoll()
        self._interests: dict[Any, _Interest] = {}
        self._watched: dict[int, Any] = {}
        reactor.addReader(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def close(self) -> None:
        """Watch nothing any more. Allowed twice."""
        if not self._set.closed:
            self._reactor.removeReader(self)
            self._set.close()

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See `twisted.internet.interfaces.IReactorSocket.adoptStreamConnection`; the connection is ours."""
        return PosixReactorBase.adoptStreamConnection(
            cast("PosixReactorBase", self), fileDescriptor, addressFamily, factory
        )

    # --- IReactorFDSet ------------------------------------------------------------------------

    def addReader(self, reader: Any) -> None:
        """Have ``doRead`` called when there is something to read."""
        self._watch(reader, EPOLLIN, 0)

    def addWriter(self, writer: Any) -> None:
        """Have ``doWrite`` called when there is room to write."""
        self._watch(writer, EPOLLOUT, 0)

    def removeReader(self, reader: Any) -> None:
        """Call ``doRead`` no more."""
        self._watch(reader, 0, EPOLLIN)

    def removeWriter(self, writer: Any) -> None:
        """Call ``doWrite`` no more."""
        self._watch(writer, 0, EPOLLOUT)

    def removeAll(self) -> list[Any]:
        """Watch nothing of it any more; answer what was watched."""
        watched = list(self._interests)
        for each in watched:
            self._watch(each, 0, EPOLLIN | EPOLLOUT)
        return watched

    def getReaders(self) -> list[Any]:
        """What is watched for reading."""
        return [who for who, interest in self._interests.items() if interest.mask & EPOLLIN]

    def getWriters(self) -> list[Any]:
        """What is watched for writing."""
        return [who for who, interest in self._interests.items() if interest.mask & EPOLLOUT]

    def _watch(self, who: Any, more: int, less: int) -> None:
        """Change what events of a descriptor are of interest; a set without any forgets it."""
        interest = self._interests.get(who)
        before = interest.mask if interest else 0
        mask = (before | more) & ~less
        if mask == before or self._set.closed:
            return
        if interest is None:
            self._begin(who, who.fileno(), mask)
        elif mask:
            self._set.modify(interest.descriptor, mask)
            interest.mask = mask
        else:
            self._forget(who, interest.descriptor)

    def _begin(self, who: Any, descriptor: int, mask: int) -> None:
        self._set.register(descriptor, mask)
        self._interests.pop(self._watched.get(descriptor), None)  # closed, for the number is free
        self._interests[who] = _Interest(descriptor, mask)
        self._watched[descriptor] = who

    def _forget(self, who: Any, descriptor: int) -> None:
        del self._interests[who], self._watched[descriptor]
        with suppress(OSError):  # closed already
            self._set.unregister(descriptor)

    # --- IReadDescriptor: what the reactor calls ------------------------------------------------

    def fileno(self) -> int:
        """The descriptor of the set, -1 once it is closed."""
        return -1 if self._set.closed else self._set.fileno()

    def logPrefix(self) -> str:
        """Who we are in the log."""
        return "connections"

    def doRead(self) -> None:
        """Deal with what has happened."""
        for descriptor, events in self._set.poll(0, TURN):
            who = self._watched.get(descriptor)
            if who is not None:
                self._tell(who, events)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, and so do all connections."""
        for each in self.removeAll():
            _lose(each, reason)
        self._set.close()

    def _tell(self, who: Any, events: int) -> None:
        """Have `who` read or write. What it answers, or raises, is the end of it."""
        try:
            if events & EPOLLIN:
                why = who.doRead()
                if why is not None:
                    self._end_input(who, why)
                    return
            if events & EPOLLOUT:
                why = who.doWrite()
            elif not events & EPOLLIN:
                why = CONNECTION_LOST
        except BaseException as error:  # a SystemExit of one, too, would be the end of all
            _log.failure("a connection failed")
            why = error
        if why is not None:
            self._end(who, why)

    def _end_input(self, who: Any, why: BaseException) -> None:
        """The peer sends no more; whether it still reads is for the protocol to find out."""
        if isinstance(why, ConnectionDone) and IHalfCloseableDescriptor.providedBy(who):
            self.removeReader(who)
            who.readConnectionLost(Failure(why))
        else:
            self._end(who, why)

    def _end(self, who: Any, why: BaseException) -> None:
        self.removeReader(who)
        self.removeWriter(who)
        _lose(who, Failure(why))


@dataclass(slots=True)
class _Interest:
    """The number that a descriptor has in the set, and the events it is watched for."""

    descriptor: int
    mask: int


def _lose(who: Any, reason: Failure) -> None:
    """Have `who` end. If that fails, all others go on."""
    try:
        who.connectionLost(reason)
    except BaseException:  # as in `EpollSet._tell`
        _log.failure("a connection failed as it ended")
