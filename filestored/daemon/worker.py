"""Main of a worker process, as the supervisor spawns it: ``python -m filestored.daemon.worker``.

Flow: one line of JSON on stdin is the configuration; the listening descriptors are inherited. The
log goes to stdout. Once there is one, and it is decided what the reactor has to bring along, all else
is imported, and `shift` begins.

SIGINT is ignored: a terminal sends it to every process of its group, and the supervisor decides. SIGUSR1 and
SIGHUP are blocked by the supervisor until they have handlers here.
"""

import faulthandler
import json
import os
import signal
from importlib import import_module
from typing import Any

from twisted.logger import globalLogBeginner

from filestored.daemon import tls
from filestored.daemon.settings import Settings
from filestored.daemon.signals import hold_reopen
from filestored.logs.observer import LogObserver
from filestored.logs.pipe import PipeSink


def main() -> None:
    """Serve until stdin ends, or a signal."""
    hold_reopen()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configuration, buffered = _configuration()
    settings = Settings.from_json(configuration["settings"])
    os.set_blocking(2, False)  # read by the supervisor, too: despair must not block either
    pipe = PipeSink(1, settings.log.level)
    observer = LogObserver()
    observer.attach(pipe)
    globalLogBeginner.beginLoggingTo([observer])
    tls.leave_out(settings.listen)
    import_module(configuration["reactor"]).install()
    from twisted.internet import reactor

    from filestored.daemon.clock import use_monotonic_clock
    from filestored.daemon.listeners import Listening
    from filestored.daemon.shift import work  # imports the world

    use_monotonic_clock(reactor)
    listening = [Listening(*each) for each in configuration["listening"]]
    work(reactor, settings, listening, pipe, buffered, configuration["suspensions"])


def _configuration() -> tuple[dict[str, Any], bytes]:
    """Return the supervisor's first line, and the bytes that came behind it."""
    data = b""
    while b"\n" not in data:
        piece = os.read(0, 65536)
        if not piece:
            raise SystemExit("filestored.daemon.worker is started by filestored, not by hand")
        data += piece
    line, _, buffered = data.partition(b"\n")
    return json.loads(line), buffered


if __name__ == "__main__":
    main()
