"""A worker process, as `supervisor` spawns it: ``python -m filestored.daemon.worker``.

Flow: one line of JSON on stdin says everything; the listening descriptors are there from birth. The
log goes to stdout. When stdin ends the supervisor wants us to finish, or is no more: either way we
accept nothing new, let running requests end, and go.

SIGINT is ignored: a terminal sends it to all of us, and the supervisor is the one to decide.
"""

import faulthandler
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.daemon.listeners import Listening
from filestored.daemon.server import Server
from filestored.daemon.settings import Settings
from filestored.daemon.signals import on_reopen, on_second_stop
from filestored.logs.observer import LogObserver, PipeSink, write_all

_log = Logger()


def main() -> None:
    """Serve until the leash ends, or a signal."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    charge, rest = _charge()
    settings = Settings.from_json(charge["settings"])
    observer = LogObserver()
    observer.attach(PipeSink(1, settings.log.level))
    globalLogBeginner.beginLoggingTo([observer])
    import_module(charge["reactor"]).install()
    from twisted.internet import reactor

    listening = [Listening(*each) for each in charge["listening"]]
    _serve(reactor, settings, listening, rest)


def _serve(reactor: Any, settings: Settings, listening: list[Listening], rest: bytes) -> None:
    from filestored.service import make_server  # imports the world: only now that it can be logged

    server = make_server(reactor, settings)
    server.start(listening)
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


def _charge() -> tuple[dict[str, Any], bytes]:
    """The supervisor's first line, and what came with it."""
    data = b""
    while b"\n" not in data:
        piece = os.read(0, 65536)
        if not piece:
            raise SystemExit("filestored.daemon.worker is started by filestored, not by hand")
        data += piece
    line, _, rest = data.partition(b"\n")
    return json.loads(line), rest


if __name__ == "__main__":
    main()
