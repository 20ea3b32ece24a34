"""Samples, and statistics of them. Pure.

One run of a workload on a server is a `Sample`; its runs of all rounds are a `Series`. Servers are
compared round by round, see `ratios`, and the median is what a table shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: `amount` of units done in `seconds`, with `cpu` seconds of the server's processes.

    `errors` counts requests that were not answered with success; `sync_seconds` is how long a sync(2) after
    the run took.
    """

    amount: float
    seconds: float
    cpu: float
    errors: int = 0
    sync_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.amount / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of the server's CPU per unit."""
        return self.cpu / self.amount * 1e6 if self.amount else float("inf")

    @property
    def busy(self) -> float:
        """CPU use of the server: 1.0 is one core."""
        return self.cpu / self.seconds


@dataclass(frozen=True, slots=True)
class Span:
    """Minimum, median and maximum."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Span":
        """The span of one or more values."""
        return cls(min(values), median(values), max(values))


Series = Sequence[Sample]
"""The samples of one server at one workload, in the order of the rounds."""


def rates(series: Series) -> Span:
    """Units a second."""
    return Span.of([sample.rate for sample in series])


def costs(series: Series) -> Span:
    """Microseconds of CPU per unit."""
    return Span.of([sample.cost for sample in series])


def ratios(ours: Series, theirs: Series) -> Span | None:
    """Return the ratio of rates, paired by round; None if the other server has none."""
    found = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True) if b.rate]
    return Span.of(found) if found else None


def cpu_ratios(ours: Series, theirs: Series) -> Span:
    """Return the ratio of the CPU time per unit of `theirs` to that of `ours`, paired by round."""
    return Span.of([b.cost / a.cost for a, b in zip(ours, theirs, strict=True)])
