"""The daemon, put together: who does the work, and what is around it.

Flow: `Settings` -> `make_daemon` -> a `Daemon`, twistd's service. Nothing but looking happens before
the fork; then the sockets are opened with the privileges of the start, those are shed, and the rest is
done: log, store, server or workers. With `serving` and `imageservice` this is the composition root: no other
module names concrete classes.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.logger import Logger

from filestored import imageservice
from filestored.daemon import garbage
from filestored.daemon.clock import use_monotonic_clock
from filestored.daemon.lifecycle import Body, Daemon
from filestored.daemon.listeners import Listeners, parse_endpoint
from filestored.daemon.notify import Notifier
from filestored.daemon.refusals import refuse
from filestored.daemon.settings import Settings
from filestored.daemon.supervisor import Supervisor
from filestored.errors import FilestoredError
from filestored.logs.access import open_access_log
from filestored.logs.observer import LogObserver
from filestored.storage.layout import inspect, prepare


def make_daemon(settings: Settings) -> Daemon:
    """The daemon for these settings; one that cannot work ends the program with one line."""
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    try:
        inspect(settings.store, settings.hash_name)
        imageservice.inspect(settings.images)
        endpoints = [(text, parse_endpoint(reactor, text)) for text in settings.listen]
    except (FilestoredError, ValueError) as error:
        refuse(error)
    observer = LogObserver()
    notifier = Notifier.from_environment(reactor, os.environ)
    return Daemon(
        reactor,
        settings,
        listeners=Listeners(endpoints),
        observer=observer,
        make_body=_body(reactor, settings, observer, notifier),
        notifier=notifier,
    )


def _body(reactor: Any, settings: Settings, observer: LogObserver, notifier: Notifier) -> Callable[[], Body]:
    """Who does the work: this process alone, or workers under its supervision."""
    if settings.workers > 1:
        return partial(_supervisor, reactor, settings, observer, notifier)
    return partial(_server, reactor, settings)


def _server(reactor: Any, settings: Settings) -> Body:
    """A server in this process."""
    from filestored.serving import make_server  # a supervisor serves nothing, and goes without

    imageservice.request_sweep(settings.images)
    server = make_server(reactor, settings)
    garbage.rest()
    return server


def _supervisor(reactor: Any, settings: Settings, observer: LogObserver, notifier: Notifier) -> Supervisor:
    """A supervisor; an error that would keep every worker from starting is raised here first."""
    prepare(settings.store, settings.hash_name, report=_report)
    imageservice.prepare(settings.images, report=_report)
    imageservice.request_sweep(settings.images)
    if access_log := open_access_log(reactor, settings.access_log):
        access_log.close()
    return Supervisor(reactor, settings, observer.write, notifier.status)


def _report(error: OSError) -> None:
    """Log a disk that cannot be written to now; the workers serve what can be read."""
    _log.error("the workers start without a disk to write to: {reason}", reason=str(error))


_log = Logger()
