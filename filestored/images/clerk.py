"""Who takes blocking work on records to a thread, and tells what its errors mean.

What a full or dying disk means for images is what it means for files: `Health` decides, and the one
that judges here also judges what the store of their bytes meets on the same disk.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from filestored.storage.health import Health
from filestored.storage.jobs import Run

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Clerk:
    """Does work through `run`; `health` knows whether anything may be written."""

    def __init__(self, run: Run, health: Health) -> None:
        self._run = run
        self._health = health

    async def look(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do something that reads. Raises what it raises, and `UploadRefused` for errors that pass."""
        try:
            return await self._run(function, *args, **kwargs)
        except OSError as error:
            judged = self._health.judge(error)
            raise judged from (None if judged is error else error)

    async def change(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do something that writes; raises `WritesSuspended` when nothing may be written."""
        self._health.check()
        return await self.look(function, *args, **kwargs)
