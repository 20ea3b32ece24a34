"""Durations of calls, such as flushes of a disk."""

from collections.abc import Callable
from time import monotonic
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

OnDuration = Callable[[float], object]
"""Receives the duration of a call in seconds, in its thread."""


def timed(record: OnDuration, function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return `function` with the duration of each call passed to `record`, also if it raises."""

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        began = monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            record(monotonic() - began)

    return call
