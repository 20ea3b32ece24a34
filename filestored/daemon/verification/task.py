"""The task of a child process that verifies a store."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """A store, and the interval of its passes in seconds.

    `rate` in bytes per second; `timeout` in seconds is that of a request to an object store.
    """

    store: str
    every: float
    rate: int
    timeout: float
