"""Id of the request that the running code serves: a context variable, which the log adds to each line.

The connection sets it while it calls a resource or passes on a part of the body. Coroutines keep it, as
`Deferred.fromCoroutine` copies the context, and a job takes it to its thread. Rejected: a parameter of every
function that may log.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

current_request_id: ContextVar[bytes] = ContextVar("current_request_id", default=b"")
"""Id of the request, as in its response; empty for work on behalf of no request."""


def call_for_request(request_id: bytes, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function on behalf of the request of that id, or of none."""
    token = current_request_id.set(request_id)
    try:
        return function(*args, **kwargs)
    finally:
        current_request_id.reset(token)
