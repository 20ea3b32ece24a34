"""Thread pool: a queue of jobs, and threads that are started on demand and kept.

Rejected: `twisted.python.threadpool.ThreadPool`. It passes each job through a team of workers with a lock
each, which takes a third of the processor time of a small request.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from traceback import clear_frames
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from filestored.errors import Overloaded
from filestored.request_context import call_for_request, current_request_id

_P = ParamSpec("_P")
_T = TypeVar("_T")
_A = TypeVar("_A")

OnResult = Callable[[Any], object]
"""Called in the thread of a job with its result, or a `Failure`."""

_Job = tuple[OnResult, Callable[[], Any]]


class Run(Protocol):
    """Calls a function, perhaps in another thread."""

    def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Fire with the result of the call; fail with `Overloaded` when no thread can be started."""


class DaemonThread(threading.Thread):
    """A daemon thread: the end of the interpreter does not wait for it."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(daemon=True, **fields)


class ThreadPool:
    """At most `max_threads` threads, which run jobs in the order in which they came.

    All methods are called in one thread.
    """

    def __init__(self, name: str, max_threads: int) -> None:
        self._name = name
        self._max_threads = max_threads
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[DaemonThread] = []
        self._lock = threading.Lock()
        self._unfinished = 0
        self._started = False

    def start(self) -> None:
        """Run the jobs that are queued, and those that come."""
        self._started = True
        for _ in range(self._unfinished):
            self._start_thread()

    def stop(self) -> None:
        """Wait until all jobs have ended. Blocking."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def call(self, on_result: OnResult, function: Callable[[], Any]) -> None:
        """Queue a job. Raises `RuntimeError` when the pool has no thread, and none can be started."""
        with self._lock:
            self._unfinished += 1
        try:
            self._start_thread()
        except RuntimeError:
            if not self._threads:
                with self._lock:
                    self._unfinished -= 1
                raise
        self._jobs.put((on_result, function))

    def _start_thread(self) -> None:
        """Start a thread if all are busy. Raises `RuntimeError`."""
        count = len(self._threads)
        if self._started and count < self._max_threads and count < self._unfinished:
            thread = DaemonThread(target=self._run_jobs, name=f"{self._name}-{count}")
            thread.start()
            self._threads.append(thread)

    def _run_jobs(self) -> None:
        while job := self._jobs.get():
            on_result, function = job
            result: Any
            try:
                result = function()
            except BaseException:
                result = Failure()
            with self._lock:
                self._unfinished -= 1
            on_result(result)
            del job, on_result, function, result  # they hold buffers of uploads


def in_threads(reactor: IReactorFromThreads, pool: ThreadPool) -> Run:
    """Return a `Run` that uses the threads of `pool`.

    A job runs, and its Deferred fires, on behalf of the request that the caller serves.
    """

    def run(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        done: Deferred[_T] = Deferred()
        request_id = current_request_id.get()

        def on_result(result: _T | Failure) -> None:
            reactor.callFromThread(call_for_request, request_id, done.callback, result)

        try:
            pool.call(on_result, partial(call_for_request, request_id, function, *args, **kwargs))
        except RuntimeError:  # "can't start new thread", as threading puts EAGAIN and ENOMEM
            return fail(Overloaded())
        return done.addErrback(_clear_frames)

    return run


def clear_traceback_frames(error: BaseException) -> None:
    """Clear the local variables of the frames in the traceback of `error`.

    They hold upload buffers, in a reference cycle that the tuned garbage collector would free late. The lines
    of the traceback stay; running frames are unaffected.
    """
    clear_frames(error.__traceback__)


def _clear_frames(failure: Failure) -> Failure:
    assert failure.value is not None, "a failure has an exception"
    clear_traceback_frames(failure.value)
    return failure


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
