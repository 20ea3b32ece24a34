"""Main loop of a worker: serve until the supervisor closes the control pipe (stdin).

Flow: `work` makes a `Server` and runs the reactor. When stdin ends the supervisor wants this worker to
finish, or was killed: either way it accepts nothing new, lets running requests end, and exits.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.daemon import garbage
from filestored.daemon.listeners import Listening
from filestored.daemon.server import Server
from filestored.daemon.settings import Settings
from filestored.daemon.signals import on_reopen, on_second_stop
from filestored.logs.pipe import PipeSink
from filestored.serving import make_server
from filestored.storage.devices import DeviceHealth

MAX_FLUSH_SECONDS = 2.0
"""Seconds that the end of a worker waits for its last log lines to be read."""


def work(
    reactor: Any,
    settings: Settings,
    listening: Sequence[Listening],
    pipe: PipeSink,
    buffered: bytes,
    suspensions: Iterable[tuple[int | str, str, bool]],
) -> None:
    """Serve on these sockets until the control pipe ends, or a signal.

    `buffered` has been read from the control pipe already; `suspensions` hold for the service since before
    this worker was started.
    """
    devices = DeviceHealth()
    devices.watch(lambda *suspension: pipe.send({"suspended": suspension}))
    server = make_server(reactor, settings, devices)
    for scope, reason, until_restart in suspensions:
        devices.suspend(scope, reason, until_restart)
    server.start(listening)
    garbage.rest()
    for each in listening:
        os.close(each.descriptor)
    pipe.watch(reactor)
    reactor.addReader(ControlPipe(reactor, _commands(server, devices, pipe), buffered))
    reactor.addSystemEventTrigger("before", "shutdown", _stop, reactor, server)
    reactor.callWhenRunning(on_reopen, reactor, server.reopen)
    reactor.callWhenRunning(pipe.send, "serving")
    reactor.run()
    pipe.finish(MAX_FLUSH_SECONDS)


def _stop(reactor: Any, server: Server) -> Any:
    on_second_stop(reactor, server.abort)
    return server.stop()


def _commands(server: Server, devices: DeviceHealth, pipe: PipeSink) -> Callable[[bytes], None]:
    """Return the function that executes one line of the supervisor."""

    def execute(line: bytes) -> None:
        if line == b"ping":
            pipe.send("alive")
        elif line == b"reopen":
            server.reopen()
        else:
            devices.suspend(*json.loads(line)["suspended"])

    return execute


@implementer(IReadDescriptor)
class ControlPipe:
    """Reads lines of the supervisor from stdin and executes them; stops the reactor at the end of it."""

    _log = Logger()

    def __init__(self, reactor: Any, execute: Callable[[bytes], None], buffered: bytes) -> None:
        self._reactor = reactor
        self._execute = execute
        self._buffered = buffered

    def doRead(self) -> None:
        """Read what there is; at the end of it, stop."""
        data = os.read(0, 65536)
        if not data:
            self._reactor.removeReader(self)
            self._end()
            return
        *lines, self._buffered = (self._buffered + data).split(b"\n")
        for line in lines:
            try:
                self._execute(line)
            except Exception:  # raised to the reactor it would end this worker
                self._log.failure("a command of the supervisor failed")

    def fileno(self) -> int:
        """Standard input."""
        return 0

    def connectionLost(self, reason: Failure) -> None:
        """The other end hung up, as epoll puts it when nothing is left to read."""
        self._end()

    def logPrefix(self) -> str:
        """The name of this descriptor in the reactor's log lines."""
        return "control"

    def _end(self) -> None:
        with suppress(ReactorNotRunning):  # it may be ending already
            self._reactor.stop()
