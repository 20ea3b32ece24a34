"""A worker's working life: from its sockets to the end of the leash.

Flow: `work` makes a `Server` and runs the reactor. When stdin, the leash, ends the supervisor wants us to
finish, or is no more: either way we accept nothing new, let running requests end, and go.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.daemon import garbage
from filestored.daemon.listeners import Listening
from filestored.daemon.server import Server
from filestored.daemon.settings import Settings
from filestored.daemon.signals import on_reopen, on_second_stop
from filestored.serving import make_server
from filestored.writing import write_all


def work(reactor: Any, settings: Settings, listening: Sequence[Listening], rest: bytes) -> None:
    """Serve on these sockets until the leash ends, or a signal; `rest` has come through it already."""
    server = make_server(reactor, settings)
    server.start(listening)
    garbage.rest()
    for each in listening:
        os.close(each.descriptor)
    reactor.addReader(Leash(reactor, server.reopen, rest))
    reactor.addSystemEventTrigger("before", "shutdown", _stop, reactor, server)
    reactor.callWhenRunning(on_reopen, reactor, server.reopen)
    reactor.callWhenRunning(write_all, 1, b'"serving"\n')
    reactor.run()


def _stop(reactor: Any, server: Server) -> Any:
    on_second_stop(reactor, server.abort)
    return server.stop()


@implementer(IReadDescriptor)
class Leash:
    """Listens to the supervisor on stdin: ``reopen``, or the end."""

    def __init__(self, reactor: Any, reopen: Callable[[], None], rest: bytes) -> None:
        self._reactor = reactor
        self._reopen = reopen
        self._rest = rest

    def doRead(self) -> None:
        """Take what there is; at the end of it, stop."""
        data = os.read(0, 4096)
        if not data:
            self._reactor.removeReader(self)
            self._end()
            return
        *words, self._rest = (self._rest + data).split(b"\n")
        for _ in filter(b"reopen".__eq__, words):
            self._reopen()

    def fileno(self) -> int:
        """Standard input."""
        return 0

    def connectionLost(self, reason: Failure) -> None:
        """The other end hung up, as epoll puts it when nothing is left to read."""
        self._end()

    def logPrefix(self) -> str:
        """Who we are in the log."""
        return "Leash"

    def _end(self) -> None:
        with suppress(ReactorNotRunning):  # it may be ending already
            self._reactor.stop()
