"""Who takes blocking work on records to a thread, and tells what its errors mean.

What a full or dying disk means for images is what it means for files: `Health` decides, and the one
that judges here also judges what the store of their bytes meets on the same disk.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from filestored.storage.health import Health
from filestored.storage.jobs import IOThreads, Run

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Clerk:
    """Runs record operations in `threads`; `health` knows whether anything may be written."""

    def __init__(self, threads: IOThreads, health: Health) -> None:
        self._threads = threads
        self._health = health

    async def look(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do something that reads. Raises what it raises, and `Overloaded` without descriptors or memory."""
        return await _judged(self._health.judge_read, self._threads.read, function, *args, **kwargs)

    async def list(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """As `look`, for reading whole directories of records."""
        return await _judged(self._health.judge_read, self._threads.list, function, *args, **kwargs)

    async def change(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do something that writes; raises `WritesSuspended` when nothing may be written."""
        self._health.check()
        return await _judged(self._health.judge, self._threads.record, function, *args, **kwargs)


async def _judged(
    judge: Callable[[Exception], Exception],
    run: Run,
    function: Callable[_P, _T],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T:
    try:
        return await run(function, *args, **kwargs)
    except OSError as error:
        judged = judge(error)
        raise judged from (None if judged is error else error)
