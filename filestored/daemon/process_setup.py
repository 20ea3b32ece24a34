"""Setup of a process that serves, once at its start: open-file limit, garbage collector, TLS, signals, clock.

The functions are independent of each other. `skip_unused_tls` comes before the first import of the reactor.
"""

import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from functools import partial
from time import monotonic
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from filestored.daemon.periodic_call import periodic_call
from filestored.settings import MAX_HELD_FILES

PER_CONNECTION = 2
"""Descriptors of a connection: its socket, and the file that is sent."""

PER_UPLOAD = MAX_HELD_FILES
"""Descriptors of an upload of files, besides those of its connection: a form may have several files open."""

PER_BUCKET = 270
"""Descriptors of an open bucket on a disk: its shards, and some files."""

PER_IMAGE_UPLOAD = 1
"""Descriptors of an upload of an image, besides those of its connection."""

RESERVED = 2816
"""Descriptors of everything else: the directories of two stores, files that two response caches keep open,
logs, pipes, libraries.
"""

GC_THRESHOLDS = (50_000, 20, 100)
"""Thresholds of the garbage collector; that of generation 0 is some MiB of new objects."""

PLAIN_ENDPOINTS = frozenset({"tcp", "tcp6", "unix", "systemd"})
"""Types of endpoints that never use TLS. Any other type may."""

REOPEN_SIGNALS = (signal.SIGUSR1, signal.SIGHUP)
"""Signals by which logrotate and ``systemctl reload`` ask for log files to be reopened."""

DUPLICATE_SECONDS = 1.0
"""Time after the first SIGTERM or SIGINT in which another one is a duplicate."""

ORPHAN_SECONDS = 1.0
"""Interval of `collect_orphans`."""

_held: list[int] = []
"""Signals of `REOPEN_SIGNALS` that came before `on_reopen`."""

_log = Logger()


# --- open files -------------------------------------------------------------------------------


def raise_open_file_limit(connections: int, uploads: int, buckets: int = 0) -> int:
    """Raise the soft limit of open files, at most to the hard limit (getrlimit(2)).

    It is raised to `required_descriptors` and those of so many open `buckets`. Returns the number of buckets,
    at least 1, for which it suffices.

    Shells and inits often set 1,024 for programs that use ``select``. A hard limit that is too low is logged
    once; connections beyond it wait in the socket's queue.
    """
    required = required_descriptors(connections, uploads)
    wanted = required + buckets * PER_BUCKET
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < required:
        _log.warn(
            "the limit of open files is {hard}; {connections} connections may need {wanted}",
            hard=hard,
            connections=connections,
            wanted=required,
        )
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(1, min(buckets, (wanted - required) // PER_BUCKET))


def required_descriptors(connections: int, uploads: int) -> int:
    """Return the number of descriptors for so many connections, uploads of files, and uploads of images."""
    return PER_CONNECTION * connections + (PER_UPLOAD + PER_IMAGE_UPLOAD) * uploads + RESERVED


def forbid_core_files() -> None:
    """Have this process and its children write no core files, which would contain tokens and stored data."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# --- garbage collector ------------------------------------------------------------------------


def tune_gc() -> None:
    """Freeze all existing objects and raise the thresholds to `GC_THRESHOLDS`.

    The objects of a request are freed by reference counts. Failures and closed connections leave cycles of
    some KiB. With the default threshold of 700 the collector traverses the objects of all requests under way
    that often: a fifteenth of the processor time, measured with uploads of 4 KiB on 64 connections.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


# --- TLS --------------------------------------------------------------------------------------


def skip_unused_tls(endpoints: Iterable[str]) -> None:
    """Skip importing pyOpenSSL when no endpoint uses TLS. Saves 13 MiB per process.

    Twisted's reactor imports pyOpenSSL where it is installed, and works without. Only for a process that
    runs nothing but filestored. Has no effect when pyOpenSSL was imported before.
    """
    if not needs_tls(endpoints):
        # None marks a module that cannot be imported, see `sys.modules`.
        sys.modules.setdefault("OpenSSL", None)  # type: ignore[arg-type]  # typeshed knows modules only


def needs_tls(endpoints: Iterable[str]) -> bool:
    """Return whether one of these endpoint strings may use TLS."""
    return any(text.partition(":")[0] not in PLAIN_ENDPOINTS for text in endpoints)


# --- signals ----------------------------------------------------------------------------------


def hold_reopen() -> None:
    """Keep SIGUSR1 and SIGHUP for a later `on_reopen`, and unblock them."""
    _held.clear()
    for number in REOPEN_SIGNALS:
        signal.signal(number, _hold)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REOPEN_SIGNALS)


@contextmanager
def reopen_signals_blocked() -> Iterator[None]:
    """Block SIGUSR1 and SIGHUP; a process that is spawned meanwhile inherits that (sigprocmask(2))."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, REOPEN_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def on_reopen(reactor: Any, action: Callable[[], object]) -> None:
    """Call `action` on SIGUSR1 and SIGHUP, and once for those that have been held."""
    _install(reactor, action, *REOPEN_SIGNALS)
    if _held:
        _held.clear()
        reactor.callFromThread(action)


def on_stop(reactor: Any, abort: Callable[[], object]) -> None:
    """Stop the reactor on the first SIGTERM or SIGINT; call `abort` on a second one.

    A signal within `DUPLICATE_SECONDS` of the first one is a duplicate and has no effect: timeout(1) sends
    SIGTERM to its child and to the process group. Call this once the reactor runs. A SIGINT that the starter
    ignored stays ignored, as that of a background job (``twistd … &`` in a script).

    Rejected: Twisted's own handlers, which stop the reactor on each signal; the second stop is an error.
    """
    stop = StopSignals(monotonic)

    def handle(number: int, frame: object) -> None:
        effect = stop.received()
        if effect is StopEffect.STOP:
            reactor._exitSignal = number  # twistd ends with this signal
            _log.info("received {name}, stopping", name=signal.Signals(number).name)
            reactor.callFromThread(_stop_reactor, reactor)
        elif effect is StopEffect.ABORT:
            reactor.callFromThread(abort)

    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    numbers = [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGINT]
    for number in numbers:
        signal.signal(number, handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # the starter may have blocked them


class StopEffect(Enum):
    """Effect of a SIGTERM or SIGINT."""

    STOP = auto()
    NONE = auto()
    ABORT = auto()


class StopSignals:
    """Effects of successive SIGTERM and SIGINT; `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first: float | None = None

    def received(self) -> StopEffect:
        """Return the effect of a signal that has arrived now."""
        now = self._clock()
        if self._first is None:
            self._first = now
            return StopEffect.STOP
        return StopEffect.NONE if now - self._first < DUPLICATE_SECONDS else StopEffect.ABORT


def _stop_reactor(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # a worker whose control pipe has ended
        reactor.stop()


def _hold(number: int, frame: object) -> None:
    _held.append(number)


def _install(reactor: Any, action: Callable[[], object], *numbers: int) -> None:
    def handle(number: int, frame: object) -> None:
        reactor.callFromThread(action)

    for number in numbers:
        signal.signal(number, handle)


# --- process 1 --------------------------------------------------------------------------------


def collect_orphans(reactor: Any) -> None:
    """Collect ended processes that process 1 of a container inherits from killed ones, such as decoders.

    Until then each is a zombie, and counts towards the container's limit of processes. An init such as tini
    would do the same. This process has children of its own, whose ends are awaited elsewhere: an ended
    process is collected in the second check that finds it. Any other process than 1 inherits none.
    """
    if os.getpid() == 1:
        periodic_call(reactor, partial(collect_ended, set())).start(ORPHAN_SECONDS)


def collect_ended(known: set[int]) -> None:
    """Collect the ended children that are `known`, and put those that are left there."""
    pid = os.getpid()
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        ended = {child for child in map(int, file.read().split()) if _wait(child, os.WNOWAIT)}
    for child in ended & known:
        _wait(child)
    left = ended - known
    known.clear()
    known.update(left)


def _wait(child: int, options: int = 0) -> bool:
    """Return whether a child has ended; collect it, unless `options` has ``WNOWAIT``."""
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | options) is not None
    return False


# --- clock ------------------------------------------------------------------------------------


def use_monotonic_clock(reactor: Any) -> None:
    """Make ``reactor.seconds`` and the delayed calls that exist follow `time.monotonic`. Idempotent.

    Twisted uses `time.time`. When the wall clock is set forward, all delayed calls are due at once; when it
    is set back, they wait longer by that. Dates in responses and logs are read from `time.time`.

    Rejected: a monotonic clock for the timeouts only. The calls of ``callLater`` that check them would still
    follow the wall clock.
    """
    before = reactor.seconds
    if before is monotonic:
        return
    now = before()
    reactor.seconds = monotonic
    for call in reactor.getDelayedCalls():
        call.seconds = monotonic
        call.reset(max(call.getTime() - now, 0.0))
