"""Hits: short responses from the response cache, counted once for each batch of events.

A cached response of 4 KiB takes about 17 µs of CPU time, and writing a cell of shared memory with its present
value takes 0.05. So `add` counts in this process, and the numbers of a batch are written together: `write`
does so before the responses are sent, hence a process that is killed loses none that a client has got.
`add_durations` follows when they were sent. The duration of all is that from the first one's head on, which
is the time that their clients wait.
"""

from bisect import bisect_left
from time import monotonic

from filestored.metrics import table
from filestored.metrics.blocks import BUCKETS, Block, place
from filestored.metrics.table import SECONDS

_FIRST, _COUNT, _SENT = map(place, (table.HITS, table.HITS_COUNT, table.HITS_SENT))
_TOTAL = _FIRST + BUCKETS
_SHORTEST = SECONDS[0]


class Hits:
    """The `count` of the hits of the present batch, and the `size` of their bodies."""

    __slots__ = ("_began", "_block", "_total_count", "_total_size", "count", "size")

    def __init__(self, block: Block) -> None:
        self._block = block
        self._began = 0.0
        self._total_count, self._total_size = block.cells[_COUNT], block.cells[_SENT]
        self.count = self.size = 0

    def add(self, size: int) -> None:
        """Count a response whose body has `size` bytes."""
        if not self.count:
            self._began = monotonic()
        self.count += 1
        self.size += size

    def write(self) -> None:
        """Write the numbers of the batch, which is about to be sent."""
        cells = self._block.cells
        cells[_COUNT] = self._total_count = self._total_count + self.count
        cells[_SENT] = self._total_size = self._total_size + self.size
        self.size = 0

    def add_durations(self) -> None:
        """Write the durations of the batch, which was sent; the next one begins."""
        block, count = self._block, self.count
        self.count = 0
        seconds = monotonic() - self._began
        block.cells[_FIRST if seconds <= _SHORTEST else _FIRST + bisect_left(SECONDS, seconds)] += count
        block.sums[_TOTAL] += seconds * count
