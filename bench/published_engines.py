"""Object stores for the simulation: published request limits and latencies, with their sources. Pure.

A published latency is a range. Here eight of ten calls are within it, by a lognormal distribution; that is an
assumption of this project.
"""

import math
import random
from dataclasses import dataclass
from typing import Protocol

READ, WRITE = 0, 1
"""Kinds of requests."""

_DEVIATIONS_OF_NINETIETH = 1.2815515655
"""The 90 % quantile of the normal distribution."""


class Latency(Protocol):
    """The latency of one call, in seconds."""

    @property
    def mean(self) -> float:
        """The mean."""

    def draw(self, source: random.Random) -> float:
        """Draw one."""


@dataclass(frozen=True, slots=True)
class Lognormal:
    """A latency of which these are the quantiles of 10 % and 90 %."""

    tenth: float
    ninetieth: float

    @property
    def mean(self) -> float:
        """The mean, which is above the median."""
        return math.exp(self._middle + self._deviation**2 / 2)

    def draw(self, source: random.Random) -> float:
        """Draw one."""
        return source.lognormvariate(self._middle, self._deviation)

    @property
    def _middle(self) -> float:
        return math.log(self.tenth * self.ninetieth) / 2

    @property
    def _deviation(self) -> float:
        return math.log(self.ninetieth / self.tenth) / (2 * _DEVIATIONS_OF_NINETIETH)


@dataclass(frozen=True, slots=True)
class Engine:
    """An object store: partitions, maximum calls a second of each by kind, latency of a call by kind."""

    name: str
    partitions: int
    limits: tuple[float, float]
    latencies: tuple[Latency, Latency]


S3_LIMITS = (5_500.0, 3_500.0)
"""Calls a second of a partitioned prefix, GET or HEAD, and PUT or DELETE: Amazon, "Best practices design
patterns: optimizing Amazon S3 performance", read in November 2026,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html"""

S3_LATENCY = Lognormal(0.100, 0.200)
"""Seconds to the first byte of a small object, "roughly 100-200 milliseconds": the same page."""

EXPRESS_LIMITS = (2_000_000.0, 200_000.0)
"""Calls a second of a directory bucket: Amazon, "Best practices to optimize S3 Express One Zone performance",
https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-optimizing-performance-design-patterns.html"""

EXPRESS_LATENCY = Lognormal(0.003, 0.009)
"""Seconds; published is "single-digit millisecond"."""

SHARDS = 256
"""Directories of a store, ``00/`` to ``ff/``, at which a service may split it."""

ENGINES = (
    Engine("S3, one partition", 1, S3_LIMITS, (S3_LATENCY, S3_LATENCY)),
    Engine("S3, 256 partitions", SHARDS, S3_LIMITS, (S3_LATENCY, S3_LATENCY)),
    Engine("S3 Express", 1, EXPRESS_LIMITS, (EXPRESS_LATENCY, EXPRESS_LATENCY)),
)
