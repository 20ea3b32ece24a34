"""Growth of the processor time of a function with the size of its input: a proof against quadratic scans."""

from collections.abc import Callable
from time import process_time

SMALL_BYTES = 1024
LARGE_BYTES = 8 * SMALL_BYTES

MAX_GROWTH = 24.0
"""Bound between linear work (a factor of 8) and quadratic work (64) for inputs of these two sizes."""

_MIN_SECONDS = 0.002
_RUNS = 5

_NEGLIGIBLE_SECONDS = 0.004
"""Processor time of 8 KiB below which a scan is not quadratic: such a scan takes a hundred times that."""


def repeated(unit: str, size: int, ending: str = "") -> str:
    """A text of `size` characters made of one unit, with an ending behind it."""
    return (unit * (size // len(unit) + 1))[:size] + ending


def is_linear(work: Callable[[int], object]) -> bool:
    """Return whether the processor time of `work`, a function of a size in bytes, grows linearly."""
    return seconds(work, LARGE_BYTES) < _NEGLIGIBLE_SECONDS or _growth(work) < MAX_GROWTH


def seconds(work: Callable[[int], object], size: int) -> float:
    """Return the least processor time of a few calls of `work` with this size."""
    return min(_seconds(work, size, 1) for _ in range(_RUNS))


def _growth(work: Callable[[int], object]) -> float:
    """Divide the processor time of ``work(LARGE_BYTES)`` by that of ``work(SMALL_BYTES)``."""
    calls = 1
    while _seconds(work, SMALL_BYTES, calls) < _MIN_SECONDS:
        calls *= 2
    small = min(_seconds(work, SMALL_BYTES, calls) for _ in range(_RUNS)) / calls
    few = max(calls // 8, 1)
    large = min(_seconds(work, LARGE_BYTES, few) for _ in range(_RUNS)) / few
    return large / small


def _seconds(work: Callable[[int], object], size: int, calls: int) -> float:
    begin = process_time()
    for _ in range(calls):
        work(size)
    return process_time() - begin
