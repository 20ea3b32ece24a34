"""Blocks of shared memory, one for each process that serves: cells of 64 bits at fixed places.

A block has one writer at a time. When that is killed, its successor continues the same counters, so no count
is lost; only its gauges begin at zero. The process that twistd runs makes all blocks before it spawns the
others, and reads them at a scrape. Aligned cells are read and written whole.

A histogram has a cell for each bucket, then the sum of its values in seconds, a double.

Rejected: a message of each worker at a scrape, for which a hung worker would have to be waited; the files of
prometheus_client, one for each process id, which have to be removed and lose what was not written.
"""

import mmap
import os

from filestored.metrics.table import INTERNAL, OF_WORKERS, SECONDS, Kind, Labels, Metric

CELL_BYTES = 8

BUCKETS = len(SECONDS) + 1
"""Buckets of a histogram, with that up to infinity."""


def _cells(metric: Metric) -> int:
    return BUCKETS + 1 if metric.kind is Kind.HISTOGRAM else 1


def _layout() -> tuple[dict[tuple[str, Labels], int], int]:
    """Return the first cell of each series, and the number of all cells in whole pages."""
    places, count = {}, 0
    for metric in (*OF_WORKERS, *INTERNAL):
        for labels in metric.series():
            places[metric.name, labels] = count
            count += _cells(metric)
    page = mmap.PAGESIZE // CELL_BYTES
    return places, -(-count // page) * page


_PLACES, BLOCK_CELLS = _layout()

_GAUGES = tuple(_PLACES[each.name, ()] for each in (*OF_WORKERS, *INTERNAL) if each.kind is Kind.GAUGE)


def place(metric: Metric, *labels: str) -> int:
    """Return the number of the first cell of a series."""
    return _PLACES[metric.name, labels]


class Block:
    """The cells of one process: `cells` as whole numbers, `sums` the same memory as doubles."""

    def __init__(self, memory: memoryview) -> None:
        self.cells = memory.cast("Q")
        self.sums = memory.cast("d")

    def value(self, metric: Metric, *labels: str) -> int:
        """Return the value of a counter or gauge."""
        return self.cells[place(metric, *labels)]

    def histogram(self, metric: Metric, *labels: str) -> tuple[list[int], float]:
        """Return the counts of all buckets, each without the lower ones, and the sum of the values."""
        first = place(metric, *labels)
        return list(self.cells[first : first + BUCKETS]), self.sums[first + BUCKETS]

    def clear_gauges(self) -> None:
        """Set all gauges to zero: their process has ended, or a new one begins."""
        for each in _GAUGES:
            self.cells[each] = 0


class SharedBlocks:
    """`count` blocks in one memory map.

    `descriptor` is that of a file in memory, which other processes inherit (memfd_create(2)); None for
    anonymous memory of this process.
    """

    def __init__(self, count: int, descriptor: int | None = None) -> None:
        size = count * BLOCK_CELLS * CELL_BYTES
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, size)
        self.descriptor = descriptor
        view = memoryview(self._memory)
        each = BLOCK_CELLS * CELL_BYTES
        self.blocks = tuple(Block(view[at : at + each]) for at in range(0, size, each))

    @classmethod
    def create(cls, count: int, *, shared: bool = True) -> "SharedBlocks":
        """Return new blocks, all zero; `shared` by a descriptor, or of this process. Raises `OSError`."""
        if not shared:
            return cls(count)
        descriptor = os.memfd_create("filestored-metrics", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, count * BLOCK_CELLS * CELL_BYTES)
        return cls(count, descriptor)
