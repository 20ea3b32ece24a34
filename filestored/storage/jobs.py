"""How blocking work leaves the reactor's thread.

A store is given a function of the type `Run`. The service passes `in_threads`, with a pool of
threads for nothing but this work; a test may pass `twisted.internet.defer.maybeDeferred`, which does
the work on the spot.
"""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Run(Protocol):
    """Something that calls a function, perhaps in another thread, and tells its result later."""

    def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Fires in the reactor's thread with what ``function(*args, **kwargs)`` returns or raises.

        Never raises: that no thread could be had is a failure like any other.
        """


def in_threads(reactor: IReactorFromThreads, pool: ThreadPool) -> Run:
    """Work is done in the threads of `pool`."""
    return partial(maybeDeferred, deferToThreadPool, reactor, pool)
