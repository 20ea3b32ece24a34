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
)
from prometheus_client.metrics_core import Metric as Exposed
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from filestored import __version__
from filestored.metrics.table import (
    BUILD_INFO,
    OF_DAEMON,
    OF_WORKERS,
    SECONDS,
    SUSPENDED,
    Kind,
    Metric,
)
from filestored.metrics.totals import Totals

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
"""The media type of the text."""

_BOUNDS = tuple(floatToGoString(each) for each in (*SECONDS, float("inf")))


class MetricsCollector(Collector):
    """The collector of prometheus_client over `totals`, and the values of the metrics in `OF_DAEMON`.

    `daemon_values` returns these by name. A metric whose value is unknown is missing there: it has no series.
    """

    def __init__(self, totals: Totals, daemon_values: Callable[[], Mapping[str, float]]) -> None:
        self._totals = totals
        self._daemon_values = daemon_values

    def collect(self) -> Iterable[Exposed]:
        """Yield all metrics."""
        yield from map(self._of_workers, OF_WORKERS)
        yield from self._of_daemon()

    def text(self) -> bytes:
        """Return all metrics as text, in the media type `CONTENT_TYPE`."""
        return generate_latest(self)

    def _of_workers(self, metric: Metric) -> Exposed:
        if metric.kind is Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels in metric.series():
                counts, total = self._totals.histogram(metric, labels)
                buckets = list(zip(_BOUNDS, map(float, accumulate(counts)), strict=True))
                histogram.add_metric(labels, buckets, total)
            return histogram
        exposed = _new(metric)
        for labels in metric.series():
            exposed.add_metric(labels, self._totals.value(metric, labels))
        return exposed

    def _of_daemon(self) -> Iterator[Exposed]:
        values = self._daemon_values()
        for metric in OF_DAEMON:
            exposed = _new(metric)
            if metric is BUILD_INFO:
                exposed.add_metric([__version__], 1)
            elif metric is SUSPENDED:
                exposed.add_metric([], self._totals.disks_suspended or self._totals.engines_away)
            elif metric.name in values:
                exposed.add_metric([], values[metric.name])
            yield exposed


def _new(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    return make(metric.name, metric.help, labels=metric.labels)
