"""Cancellation of one step of a longer operation.

In: the Deferreds of cancellable steps, one after the other. Out: their results, or `CancelledError` once the
client has left. All other steps of the operation run to their end.

Rejected: to cancel the whole coroutine, which would interrupt opens, commits and deletions half-way.
"""

from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

_T = TypeVar("_T")


class Cancellation:
    """Cancellation by a client that has left, for the step in progress and all later ones."""

    def __init__(self) -> None:
        self._cancelled = False
        self._step: Deferred[Any] | None = None

    def cancel(self) -> None:
        """Cancel the step in progress and each later one. Allowed twice, and after the operation."""
        self._cancelled = True
        if self._step is not None:
            self._step.cancel()

    async def wait(self, step: "Deferred[_T]") -> _T:
        """Return the result of a cancellable step. Raises `CancelledError` if the client left before."""
        self._step = step
        if self._cancelled:
            step.cancel()
        try:
            return await step
        except Exception:
            if self._cancelled:
                raise CancelledError from None
            raise
        finally:
            self._step = None
