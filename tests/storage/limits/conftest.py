"""Fixtures: backends with limits, each with the ledger that belongs to it."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from filestored.interfaces import BucketLimits, IBackend
from filestored.storage.limits.disk_usage import DiskUsage
from filestored.storage.limits.ledger import Ledger
from filestored.storage.limits.limited_backend import LimitedBackend

Limit = Callable[..., LimitedBackend]


def make_ledger(directory: str, backend: IBackend) -> Ledger:
    """The ledger that belongs to a backend; `directory` is that of one that has none."""
    client = getattr(backend, "_client", None)
    if client is None:
        return DiskUsage(directory, backend)
    from filestored.storage.limits.object_usage import ObjectUsage

    return ObjectUsage(client, backend)


@pytest.fixture
def limit(tmp_path: os.PathLike[str]) -> Iterator[Limit]:
    """A function that gives limits to a backend; several of one backend are as several processes."""
    with ExitStack() as opened:

        def limit_it(backend: IBackend, **limits: Any) -> LimitedBackend:
            limited = LimitedBackend(backend, partial(make_ledger, os.fspath(tmp_path)))
            limited.set_limits(BucketLimits(**limits))
            opened.callback(limited.close)
            return limited

        yield limit_it
