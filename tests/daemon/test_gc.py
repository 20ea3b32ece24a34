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


def test_gc_collects_cycles_after_the_threshold() -> None:
    tune_gc()
    knot = weakref.ref(Knot())

    kept = [[] for _ in range(2 * GC_THRESHOLDS[0])]

    assert knot() is None
    assert len(kept) == 2 * GC_THRESHOLDS[0]


def test_gc_does_not_run_below_the_threshold() -> None:
    tune_gc()
    knot = weakref.ref(Knot())

    kept = [[] for _ in range(GC_THRESHOLDS[0] // 2)]

    assert knot() is not None
    assert kept
