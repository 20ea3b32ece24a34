"""Totals over the blocks of all processes. Pure.

Short responses from the response cache have cells of their own, which makes counting them cheap: one
histogram and their bytes. They are added here to requests, both histograms of times, and sent bytes.
"""

from collections.abc import Sequence

from filestored.metrics.blocks import BUCKETS, Block
from filestored.metrics.table import (
    DISKS_SUSPENDED,
    DURATION,
    ENGINES_AWAY,
    FIRST_BYTE,
    HITS,
    HITS_COUNT,
    HITS_SENT,
    REQUESTS,
    SENT,
    Labels,
    Metric,
)

Histogram = tuple[list[int], float]
"""The counts of all buckets, each without the lower ones, and the sum of the values in seconds."""

_OF_HITS: dict[str, Labels] = {FIRST_BYTE.name: ("GET",), DURATION.name: ("GET",)}


class Totals:
    """Sums over `blocks`, read at each call."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks

    def value(self, metric: Metric, labels: Labels = ()) -> int:
        """Return the value of a counter or gauge."""
        total = self._sum(metric, *labels)
        if metric is REQUESTS and labels == ("GET", "2xx"):
            total += self._sum(HITS_COUNT)
        elif metric is SENT:
            total += self._sum(HITS_SENT)
        return total

    def histogram(self, metric: Metric, labels: Labels = ()) -> Histogram:
        """Return a histogram."""
        found = self._histogram(metric, *labels)
        return _added(found, self._hits()) if _OF_HITS.get(metric.name) == labels else found

    @property
    def disks_suspended(self) -> bool:
        """True while any process has suspended writes to a disk."""
        return self._sum(DISKS_SUSPENDED) > 0

    @property
    def engines_away(self) -> bool:
        """True while any process finds an object store away."""
        return self._sum(ENGINES_AWAY) > 0

    def _hits(self) -> Histogram:
        """Return the durations of hits; those without one yet, or for ever after a kill, have the longest."""
        counts, total = self._histogram(HITS)
        counts[-1] += max(0, self._sum(HITS_COUNT) - sum(counts))
        return counts, total

    def _sum(self, metric: Metric, *labels: str) -> int:
        return sum(block.value(metric, *labels) for block in self._blocks)

    def _histogram(self, metric: Metric, *labels: str) -> Histogram:
        total: Histogram = [0] * BUCKETS, 0.0
        for block in self._blocks:
            total = _added(total, block.histogram(metric, *labels))
        return total


def _added(first: Histogram, second: Histogram) -> Histogram:
    return [a + b for a, b in zip(first[0], second[0], strict=True)], first[1] + second[1]
