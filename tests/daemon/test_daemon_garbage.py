"""The collector of cycles rests while a process serves, and still finds what there is to find."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from filestored.daemon import garbage


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
    garbage.rest()
    knot = weakref.ref(Knot())

    kept = [[] for _ in range(2 * garbage.YOUNG)]

    assert knot() is None
    assert len(kept) == 2 * garbage.YOUNG


def test_nothing_is_looked_through_after_a_few_requests() -> None:
    garbage.rest()
    knot = weakref.ref(Knot())

    kept = [[] for _ in range(garbage.YOUNG // 2)]

    assert knot() is not None
    assert kept
