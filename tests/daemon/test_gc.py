"""The collector of cycles rests while a process serves, and still finds what there is to find."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from filestored.daemon.process_setup import GC_THRESHOLDS, tune_gc


class Knot:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.self = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_cycles_made_later_are_found_after_some_time() -> None:
    tune_gc()
    knot = weakref.ref(Knot())

    kept = [[] for _ in range(2 * GC_THRESHOLDS[0])]

    assert knot() is None
    assert len(kept) == 2 * GC_THRESHOLDS[0]


def test_nothing_is_looked_through_after_a_few_requests() -> None:
    tune_gc()
    knot = weakref.ref(Knot())

    kept = [[] for _ in range(GC_THRESHOLDS[0] // 2)]

    assert knot() is not None
    assert kept
