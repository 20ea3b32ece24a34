"""How blocking work leaves the reactor's thread.

A store is given a function of the type `Run`. The service passes `in_threads`, with a pool of
threads for nothing but this work; a test may pass `twisted.internet.defer.maybeDeferred`, which does
the work on the spot.
"""

from collections.abc import Callable
from functools import partial
from threading import Thread
from traceback import clear_frames
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from filestored.errors import Overloaded

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Run(Protocol):
    """Something that calls a function, perhaps in another thread, and tells its result later."""

    def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Fires in the reactor's thread with what ``function(*args, **kwargs)`` returns or raises.

        Never raises: it fails with `Overloaded` when no thread can be started.
        """


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
