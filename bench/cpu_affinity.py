"""CPU affinity: one core for the server, the others for the client.

A child inherits the cores of its parent, see sched_setaffinity(2); so `on` is put around the start of
a program, and Go and nginx find no more cores than they may use. With two cores a server of two
workers shares them with the client, and the report says so.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """The usable cores of this machine, in order."""

    all: tuple[int, ...]

    @classmethod
    def available(cls) -> "Cores":
        """All cores that this process may use now."""
        return cls(tuple(sorted(os.sched_getaffinity(0))))

    def for_server(self, workers: int) -> tuple[int, ...]:
        """The cores of a server with so many workers."""
        return self.all[: max(1, workers)]

    def for_client(self, workers: int) -> tuple[int, ...]:
        """Return the cores left for the client; all of them if none is left."""
        return self.all[max(1, workers) :] or self.all


@contextmanager
def on(cores: tuple[int, ...]) -> Iterator[None]:
    """Run this process, and what it starts meanwhile, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
