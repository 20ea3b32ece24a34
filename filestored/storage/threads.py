"""I/O threads: pools for blocking calls, one per kind of work; and the translation of their errors.

A store uses `IOThreads`, with one `Run` per kind. A process makes them with `ThreadPools`, one set for files
and one for images. Tests may pass `twisted.internet.defer.maybeDeferred`, which calls synchronously.

A job waits only for jobs of its own kind and API:

    pool        threads  jobs
    read             16  open, read, stat, statvfs; records looked up (tokens, images), thumbnail cache hits
    write            16  uploads hashed and written to temp files, unlink, closing deleted files
    seal             16  fsync and link of uploads above 64 KiB
    commit            1  group commit, one batch at a time: small uploads, deletions
    record            8  records created, replaced, removed, with several fsyncs each; thumbnails stored
    decompress        4  reads of gzipped images
    list              2  lists of images

So while all flushes hang, everything without a flush continues. A hanging disk blocks only the pools of the
API whose directory is on it. Threads are started on demand and kept.

All are daemon threads, and a stop waits for a bounded time: a call that hangs in the kernel would prevent the
process from ending. Its data was not acknowledged.

Rejected: one pool with a limit per kind, which needs a second queue.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from threading import Thread
from traceback import clear_frames
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from filestored.errors import Overloaded
from filestored.storage.health import Health, raise_classified

_P = ParamSpec("_P")
_T = TypeVar("_T")
_A = TypeVar("_A")


class Run(Protocol):
    """Calls a function, perhaps in another thread."""

    def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Fire with the result of the call; fail with `Overloaded` when no thread can be started."""


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
        """Return `run` if it is `IOThreads`, else use it for all kinds."""
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
"""Maximum number of threads per pool."""

MAX_REMOTE_THREADS = {
    "read": 64,
    "write": 32,
    "seal": 32,
    "commit": 32,
    "record": 32,
    "decompress": 32,
    "list": 4,
}
"""The same for an object store: all kinds wait for the network, and uploads are not batched."""

MAX_STOP_SECONDS = 3.0
"""Maximum seconds that a stop waits for running jobs."""


class DaemonThread(Thread):
    """A daemon thread: the end of the interpreter does not wait for it."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(daemon=True, **fields)


def in_parallel(function: Callable[[_A], _T], arguments: Sequence[_A], max_threads: int) -> list[_T]:
    """Return the results for all arguments, computed in threads of this call. Raises the first exception."""
    results: dict[int, _T] = {}
    errors: list[BaseException] = []
    numbers = iter(range(len(arguments)))  # shared: each number is taken once

    def call_each() -> None:
        for number in numbers:
            try:
                results[number] = function(arguments[number])
            except BaseException as error:
                errors.append(error)
                return

    threads = [DaemonThread(target=call_each) for _ in range(min(max_threads, len(arguments)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(arguments))]


class _Pool(ThreadPool):
    threadFactory: type[Thread] = DaemonThread


class ThreadPools:
    """All I/O thread pools of a process."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pools: list[ThreadPool] = []

    def make(self, api: str, max_threads: Mapping[str, int] = MAX_THREADS) -> IOThreads:
        """Return new pools; `api` prefixes the names of their threads."""
        return IOThreads(
            **{kind: self.make_run(f"{api}-{kind}", count) for kind, count in max_threads.items()}
        )

    def start(self) -> None:
        """Start all pools; they run jobs that were queued before."""
        for pool in self._pools:
            pool.start()

    def stop(self) -> bool:
        """Wait for all jobs, for at most `MAX_STOP_SECONDS`; return whether they ended. Blocking."""
        waiting = DaemonThread(target=self._join, name="stop")
        try:
            waiting.start()
        except RuntimeError:  # no thread can be started
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
    """Return a `Run` that uses the threads of `pool`."""

    def run(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        job: list[Any] = [(function, args, kwargs)]
        try:
            done: Deferred[_T] = deferToThreadPool(reactor, pool, _call, job)
            return done.addErrback(_clear_frames)
        except RuntimeError:  # "can't start new thread", as threading puts EAGAIN and ENOMEM
            pool.threads[:] = filter(_started, pool.threads)
            return fail(Overloaded())

    return run


def _call(job: list[Any]) -> Any:
    """Call a function with arguments that only `job` holds, and empty `job`.

    The frames of the thread pool may still run when the traceback is cleared, and keep what they hold.
    """
    function, args, kwargs = job.pop()
    return function(*args, **kwargs)


def clear_traceback_frames(error: BaseException) -> None:
    """Clear the local variables of the frames in the traceback of `error`.

    They hold upload buffers, in a reference cycle that the tuned garbage collector would free late. The lines
    of the traceback stay; running frames are unaffected.
    """
    clear_frames(error.__traceback__)


def _started(thread: Thread) -> bool:
    """Return whether a thread was started; the pool cannot join one that was not."""
    return thread.ident is not None


def _clear_frames(failure: Failure) -> Failure:
    assert failure.value is not None, "a failure has an exception"
    clear_traceback_frames(failure.value)
    return failure


class RecordThreads:
    """Runs blocking record operations in I/O threads and classifies their OSErrors with `health`."""

    def __init__(self, threads: IOThreads, health: Health) -> None:
        self._threads = threads
        self._health = health

    async def read(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function that reads. Raises what it raises; `Overloaded` without descriptors or memory."""
        return await _classified(self._health.classify_read, self._threads.read, function, *args, **kwargs)

    async def list(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """As `read`, for whole directories of records."""
        return await _classified(self._health.classify_read, self._threads.list, function, *args, **kwargs)

    async def write(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function that writes. Raises `WritesSuspended` while writes are suspended."""
        self._health.check()
        return await _classified(self._health.classify, self._threads.record, function, *args, **kwargs)


async def _classified(
    classify: Callable[[Exception], Exception],
    run: Run,
    function: Callable[_P, _T],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T:
    try:
        return await run(function, *args, **kwargs)
    except OSError as error:
        raise_classified(classify, error)
