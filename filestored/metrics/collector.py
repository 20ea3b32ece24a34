"""Text of all metrics for Prometheus, by prometheus_client.

Only the process that serves ``/metrics`` imports this module, which needs the extra ``metrics``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from filestored import __version__
from filestored.metrics.table import (
    BUILD_INFO,
    OF_DAEMON,
    OF_WORKERS,
    SECONDS,
    SUSPENDED,
    Family,
    Kind,
)
from filestored.metrics.totals import Totals

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
"""The media type of the text."""

_BOUNDS = tuple(floatToGoString(each) for each in (*SECONDS, float("inf")))


class MetricsCollector(Collector):
    """The collector of prometheus_client over `totals`, and the values of the families in `OF_DAEMON`.

    `daemon_values` returns these by name. A family whose value is unknown is missing there: it has no series.
    """

    def __init__(self, totals: Totals, daemon_values: Callable[[], Mapping[str, float]]) -> None:
        self._totals = totals
        self._daemon_values = daemon_values

    def collect(self) -> Iterable[Metric]:
        """Yield all families."""
        yield from map(self._of_workers, OF_WORKERS)
        yield from self._of_daemon()

    def text(self) -> bytes:
        """Return all families as text, in the media type `CONTENT_TYPE`."""
        return generate_latest(self)

    def _of_workers(self, family: Family) -> Metric:
        if family.kind is Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
            for labels in family.series():
                counts, total = self._totals.histogram(family, labels)
                buckets = list(zip(_BOUNDS, map(float, accumulate(counts)), strict=True))
                histogram.add_metric(labels, buckets, total)
            return histogram
        metric = _new(family)
        for labels in family.series():
            metric.add_metric(labels, self._totals.value(family, labels))
        return metric

    def _of_daemon(self) -> Iterator[Metric]:
        values = self._daemon_values()
        for family in OF_DAEMON:
            metric = _new(family)
            if family is BUILD_INFO:
                metric.add_metric([__version__], 1)
            elif family is SUSPENDED:
                metric.add_metric([], self._totals.disks_suspended or self._totals.engines_away)
            elif family.name in values:
                metric.add_metric([], values[family.name])
            yield metric


def _new(family: Family) -> CounterMetricFamily | GaugeMetricFamily:
    make = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    return make(family.name, family.help, labels=family.labels)
