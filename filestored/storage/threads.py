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

The pools of an object store have more threads (`MAX_REMOTE_THREADS`).

So while all flushes hang, everything without a flush continues. A hanging disk blocks only the pools of the
API whose directory is on it. Threads are started on demand and kept.

All are daemon threads, and a stop waits for a bounded time: a call that hangs in the kernel would prevent the
process from ending. Its data was not acknowledged.

Rejected: one pool with a limit per kind, which needs a second queue.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from filestored.storage.health import Health, raise_classified
from filestored.storage.thread_pool import DaemonThread, Run, ThreadPool, in_threads

_P = ParamSpec("_P")
_T = TypeVar("_T")


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

    def counted(self, jobs: "JobCount") -> "IOThreads":
        """Return these threads, with the jobs of the caller counted in `jobs`."""
        return IOThreads(**{each.name: jobs.counted(getattr(self, each.name)) for each in fields(self)})


class JobCount:
    """The number of jobs that are `running`, or wait for a thread."""

    running = 0

    def counted(self, run: Run) -> Run:
        """Return `run` with its jobs counted."""

        def run_counted(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
            self.running += 1
            return run(function, *args, **kwargs).addBoth(self._ended)

        return run_counted

    def _ended(self, result: _T) -> _T:
        self.running -= 1
        return result


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
    "seal": 16,
    "commit": 32,
    "record": 32,
    "decompress": 32,
    "list": 4,
}
"""The same for an object store: all kinds wait for the network, and uploads are not batched."""

MAX_STOP_SECONDS = 3.0
"""Maximum seconds that a stop waits for running jobs."""


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
        pool = ThreadPool(name, threads)
        self._pools.append(pool)
        return in_threads(self._reactor, pool)


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
