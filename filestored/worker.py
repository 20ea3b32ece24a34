"""Main of a worker process, spawned by the supervisor: ``python -m filestored.worker``.

In: one line of JSON on stdin with the configuration; the listening descriptors are inherited. stdin is the
control pipe from then on. Out: log lines and control messages on stdout.

`main` sets up the log, decides whether TLS is imported, installs the reactor, and imports the rest.
`run_worker` makes a `Server` and runs the reactor until stdin ends, which means "drain and exit".

SIGINT is ignored: a terminal sends it to every process of its group, and the supervisor decides. SIGUSR1 and
SIGHUP are blocked by the supervisor until they have handlers here.
"""

import faulthandler
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.daemon.process_setup import (
    hold_reopen,
    on_reopen,
    on_stop,
    skip_unused_tls,
    tune_gc,
    use_monotonic_clock,
)
from filestored.http.transport.tls import Certificate
from filestored.logs.observer import LogObserver
from filestored.logs.pipe_sink import PipeSink
from filestored.logs.writer_thread import MAX_FLUSH_SECONDS
from filestored.metrics.blocks import SharedBlocks
from filestored.metrics.recorder import Recorder
from filestored.settings import Settings
from filestored.storage.health import DeviceHealth

if TYPE_CHECKING:
    from filestored.daemon.server import Server


def main() -> None:
    """Serve until stdin ends, or until a signal."""
    hold_reopen()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configuration, buffered = _configuration()
    settings = Settings.from_json(configuration["settings"])
    os.set_blocking(2, False)  # read by the supervisor, too: an error message must not block either
    pipe = PipeSink(1, settings.log.level)
    observer = LogObserver()
    observer.attach(pipe)
    globalLogBeginner.beginLoggingTo([observer])
    skip_unused_tls(settings.listen)
    import_module(configuration["reactor"]).install()
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    run_worker(reactor, settings, pipe, configuration, buffered)


def _configuration() -> tuple[dict[str, Any], bytes]:
    """Return the supervisor's first line, and the bytes that came behind it."""
    data = b""
    while b"\n" not in data:
        piece = os.read(0, 65536)
        if not piece:
            raise SystemExit("filestored.worker is started by filestored, not by hand")
        data += piece
    line, _, buffered = data.partition(b"\n")
    return json.loads(line), buffered


def run_worker(
    reactor: Any, settings: Settings, pipe: PipeSink, configuration: dict[str, Any], buffered: bytes
) -> None:
    """Serve on the sockets of the configuration until the control pipe ends, or until a signal.

    `buffered` was read from the control pipe already. The suspensions in the configuration are those that
    hold for the service since before this worker was started.
    """
    from filestored.assembly import make_server
    from filestored.daemon.listeners import ListeningSocket

    devices = DeviceHealth()
    devices.watch(lambda *suspension: pipe.send({"suspended": suspension}))
    metrics = _open_metrics(configuration.get("metrics"), pipe)
    server = make_server(reactor, settings, devices, configuration["access"], metrics)
    for scope, reason, until_restart in configuration["suspensions"]:
        devices.suspend(scope, reason, until_restart)
    listening = [
        ListeningSocket(endpoint, descriptor, _certificate(pem))
        for endpoint, descriptor, pem in configuration["listening"]
    ]
    server.start(listening)
    tune_gc()
    for each in listening:
        os.close(each.descriptor)
    pipe.watch(reactor)
    control_pipe = ControlPipe(reactor, _commands(server, devices, pipe))
    control_pipe.execute(buffered)
    reactor.addReader(control_pipe)
    reactor.addSystemEventTrigger("before", "shutdown", server.stop)
    reactor.callWhenRunning(on_stop, reactor, server.abort)
    reactor.callWhenRunning(on_reopen, reactor, server.reopen)
    reactor.callWhenRunning(pipe.send, "serving")
    reactor.run()
    pipe.finish(MAX_FLUSH_SECONDS)


def _open_metrics(place: tuple[int, int, int] | None, pipe: PipeSink) -> Recorder | None:
    """Return the recorder for a descriptor, the number of blocks in it and that of the own block, from 0.

    It counts the lines that `pipe` drops.
    """
    if place is None:
        return None
    descriptor, count, number = place
    shared = SharedBlocks(count, descriptor)
    os.close(descriptor)
    metrics = Recorder(shared.blocks[number])
    pipe.on_dropped = metrics.from_threads.lines_dropped
    return metrics


def _commands(server: "Server", devices: DeviceHealth, pipe: PipeSink) -> Callable[[bytes], None]:
    """Return the function that executes one line of the supervisor."""

    def execute(line: bytes) -> None:
        if line == b"ping":
            pipe.send("alive")
        elif line == b"reopen":
            server.reopen()
        else:
            execute_json(json.loads(line))

    def execute_json(message: dict[str, Any]) -> None:
        if "certificates" in message:
            server.renew_certificates([_certificate(pem) for pem in message["certificates"]])
        elif "access" in message:
            server.use_access(message["access"])
        else:
            devices.suspend(*message["suspended"])

    return execute


def _certificate(pem: dict[str, str] | None) -> Certificate | None:
    return None if pem is None else Certificate(**pem)


@implementer(IReadDescriptor)
class ControlPipe:
    """Reads lines of the supervisor from stdin and executes them; stops the reactor at the end of it."""

    _log = Logger(namespace="filestored.worker")  # not __main__

    def __init__(self, reactor: Any, execute_line: Callable[[bytes], None]) -> None:
        self._reactor = reactor
        self._execute_line = execute_line
        self._buffered = b""

    def doRead(self) -> None:
        """Read what there is; at the end of it, stop."""
        data = os.read(0, 65536)
        if not data:
            self._reactor.removeReader(self)
            self._end()
            return
        self.execute(data)

    def execute(self, data: bytes) -> None:
        """Execute the whole lines in `data` and what was read before; keep the rest for the next call."""
        *lines, self._buffered = (self._buffered + data).split(b"\n")
        for line in lines:
            try:
                self._execute_line(line)
            except Exception:  # raised to the reactor it would end this worker
                self._log.failure("a command of the supervisor failed")

    def fileno(self) -> int:
        """Return the descriptor of standard input."""
        return 0

    def connectionLost(self, reason: Failure) -> None:
        """Handle a hang-up (EPOLLHUP): the supervisor has closed its end, and nothing is left to read."""
        self._end()

    def logPrefix(self) -> str:
        """Return the name of this descriptor in log lines of the reactor."""
        return "control"

    def _end(self) -> None:
        with suppress(ReactorNotRunning):  # it may be ending already
            self._reactor.stop()


if __name__ == "__main__":
    main()
