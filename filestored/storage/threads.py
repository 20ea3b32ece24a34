"""Thread pools for blocking I/O, one per kind of work.

A store takes `IOThreads`, which has one `Run` per kind. The service makes them with `ThreadPools`, one set
for files and one for images. A test may pass `twisted.internet.defer.maybeDeferred` for all kinds, which
does the work on the spot.

Work waits only for work of its own kind and API:

    pool        threads  jobs
    read             16  open, read, stat, statvfs; records looked up (tokens, images), thumbnail cache hits
    write            16  uploads hashed and written to scratch files, unlink, closing deleted files
    seal             16  fsync and link of uploads above 64 KiB
    commit            1  group commit, of which one batch is under way at a time: small uploads, deletions
    record            8  records created, replaced, removed, with several fsyncs each; thumbnails stored
    decompress        4  reads of gzipped images
    list              2  lists of images

So while all flushes hang, everything that needs no flush goes on. A disk that hangs stops the pools of the
API whose directory is on it. A thread is started when a job finds no idle one, and kept.

All are daemon threads, and a stop waits for them for a bounded time only: a call that hangs in the kernel
would otherwise keep the process from ending. What it was to write has not been acknowledged.

Rejected: one pool with a limit per kind, which needs a second queue in front of that of the pool.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from threading import Thread
from traceback import clear_frames
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from filestored.errors import Overloaded
from filestored.storage.health import Health

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Run(Protocol):
    """Something that calls a function, perhaps in another thread, and tells its result later."""

    def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Fires in the reactor's thread with what ``function(*args, **kwargs)`` returns or raises.

        Never raises: it fails with `Overloaded` when no thread can be started.
        """


@dataclass(frozen=True, slots=True)
class IOThreads:
    """One `Run` per kind of blocking work; see the module for the kinds."""

    read: Run
    write: Run
    seal: Run
    commit: Run
    record: Run
    decompress: Run
    list: Run

    @classmethod
    def of(cls, run: "Run | IOThreads") -> "IOThreads":
        """Return `run` if it is separated by kind already, else use it for all kinds."""
        return run if isinstance(run, IOThreads) else cls(*[run] * len(fields(cls)))


MAX_THREADS = {
    "read": 16,
    "write": 16,
    "seal": 16,
    "commit": 1,
    "record": 8,
    "decompress": 4,
    "list": 2,
}
"""Threads of each pool of one API."""

MAX_STOP_SECONDS = 3.0
"""Seconds that a stop waits for jobs under way."""


class DaemonThread(Thread):
    """A thread that the end of the interpreter does not wait for."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(daemon=True, **fields)


class _Pool(ThreadPool):
    threadFactory: type[Thread] = DaemonThread


class ThreadPools:
    """All pools of I/O threads of a process, started and stopped together."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pools: list[ThreadPool] = []

    def make(self, api: str) -> IOThreads:
        """Return new pools; `api` is part of the names of their threads."""
        return IOThreads(**{kind: self.make_run(f"{api}-{kind}", most) for kind, most in MAX_THREADS.items()})

    def start(self) -> None:
        """Begin to do jobs. Those that were given before are done now."""
        for pool in self._pools:
            pool.start()

    def stop(self) -> bool:
        """Wait for all jobs, for at most `MAX_STOP_SECONDS`; return whether they are done.

        Blocking. Jobs given later are never done.
        """
        waiting = DaemonThread(target=self._join, name="stop")
        try:
            waiting.start()
        except RuntimeError:  # no thread can be started, so no job is waited for
            return False
        waiting.join(MAX_STOP_SECONDS)
        return not waiting.is_alive()

    def _join(self) -> None:
        for pool in self._pools:
            pool.stop()

    def make_run(self, name: str, threads: int) -> Run:
        """Return a new pool of at most `threads` threads."""
        pool = _Pool(minthreads=0, maxthreads=threads, name=name)
        self._pools.append(pool)
        return in_threads(self._reactor, pool)


def in_threads(reactor: IReactorFromThreads, pool: ThreadPool) -> Run:
    """Work is done in the threads of `pool`."""

    def run(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        in_thread = partial(deferToThreadPool, reactor, pool, function, *args, **kwargs)
        try:
            return in_thread().addErrback(_emptied)
        except RuntimeError:  # "can't start new thread", as threading puts EAGAIN and ENOMEM
            pool.threads[:] = filter(_started, pool.threads)
            return fail(Overloaded())

    return run


def empty(error: BaseException | None) -> None:
    """Let go of what an error holds: everything that the functions had in hand that it came through.

    Bodies are among that, and error and frames hold each other, until the collector looks for such circles.
    The lines of the traceback stay. What still runs is left alone.
    """
    if error is not None:
        clear_frames(error.__traceback__)


def _started(thread: Thread) -> bool:
    """Return whether a thread was started; the pool could not join one that was not."""
    return thread.ident is not None


def _emptied(failure: Failure) -> Failure:
    empty(failure.value)
    return failure


class RecordThreads:
    """Runs blocking record operations in I/O threads and classifies their OSErrors with `health`."""

    def __init__(self, threads: IOThreads, health: Health) -> None:
        self._threads = threads
        self._health = health

    async def read(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function that reads. Raises what it raises; `Overloaded` without descriptors or memory."""
        return await _judged(self._health.classify_read, self._threads.read, function, *args, **kwargs)

    async def list(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """As `read`, for whole directories of records."""
        return await _judged(self._health.classify_read, self._threads.list, function, *args, **kwargs)

    async def write(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function that writes. Raises `WritesSuspended` while writes are suspended."""
        self._health.check()
        return await _judged(self._health.classify, self._threads.record, function, *args, **kwargs)


async def _judged(
    classify: Callable[[Exception], Exception],
    run: Run,
    function: Callable[_P, _T],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T:
    try:
        return await run(function, *args, **kwargs)
    except OSError as error:
        judged = classify(error)
        raise judged from (None if judged is error else error)
