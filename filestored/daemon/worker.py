"""A worker process, as `supervisor` spawns it: ``python -m filestored.daemon.worker``.

Flow: one line of JSON on stdin says everything; the listening descriptors are there from birth. The
log goes to stdout. Once there is one, and it is decided what the reactor has to bring along, all else
is imported, and `shift` begins.

SIGINT is ignored: a terminal sends it to all of us, and the supervisor is the one to decide.
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
from filestored.logs.observer import LogObserver
from filestored.logs.pipe import PipeSink


def main() -> None:
    """Serve until the leash ends, or a signal."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    charge, rest = _charge()
    settings = Settings.from_json(charge["settings"])
    observer = LogObserver()
    observer.attach(PipeSink(1, settings.log.level))
    globalLogBeginner.beginLoggingTo([observer])
    tls.leave_out(settings.listen)
    import_module(charge["reactor"]).install()
    from twisted.internet import reactor

    from filestored.daemon.clock import use_monotonic_clock
    from filestored.daemon.listeners import Listening
    from filestored.daemon.shift import work  # imports the world

    use_monotonic_clock(reactor)
    work(reactor, settings, [Listening(*each) for each in charge["listening"]], rest)


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
