"""Text of the metrics: every metric of the table, as a parser of Prometheus reads it."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from filestored import __version__
from filestored.metrics.blocks import SharedBlocks
from filestored.metrics.collector import MetricsCollector
from filestored.metrics.recorder import Recorder
from filestored.metrics.refusals import REASONS
from filestored.metrics.table import OF_DAEMON, OF_WORKERS, Kind
from filestored.metrics.totals import Totals

ALL = (*OF_WORKERS, *OF_DAEMON)


@pytest.fixture
def blocks():
    return SharedBlocks.create(2, shared=False).blocks


def exposed(blocks, values=None):
    """The metrics as they are parsed, by type and name; that of a counter is parsed without its suffix."""
    text = MetricsCollector(Totals(blocks), lambda: values or {}).text().decode()
    return {(family.type, family.name): family for family in text_string_to_metric_families(text)}


def samples(blocks, values=None):
    """The values by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in exposed(blocks, values).values()
        for sample in family.samples
    }


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_each_metric_has_help_and_its_type(metric, blocks):
    name = metric.name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.name
    assert metric.help == exposed(blocks)[metric.kind.name.lower(), name].documentation


def test_no_other_metric_is_exposed(blocks):
    assert len(ALL) == len(exposed(blocks))


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_name_follows_the_conventions_of_prometheus(metric):
    assert metric.name.startswith("filestored_")
    assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
    assert metric.kind is not Kind.HISTOGRAM or metric.name.endswith("_seconds")
    assert metric.help.endswith(".")


def test_all_series_of_workers_exist_before_the_first_request(blocks):
    found = samples(blocks)
    for reason in REASONS:
        assert 0 == found["filestored_refusals_total", reason]
    assert 0 == found["filestored_requests_total", "GET", "2xx"]
    assert 0 == found["filestored_fsync_seconds_count",]


def test_values_are_sums_over_all_processes(blocks):
    first, second = map(Recorder, blocks)
    for recorder, sent in ((first, 10), (second, 5)):
        recorder.response(b"GET", 200, None, 0.02, 0.01, sent)
        recorder.connection_made()
    found = samples(blocks)
    assert 2 == found["filestored_requests_total", "GET", "2xx"]
    assert 15 == found["filestored_response_sent_bytes_total",]
    assert 2 == found["filestored_connections",]


def test_buckets_of_a_histogram_are_cumulative(blocks):
    recorder = Recorder(blocks[0])
    for seconds in (0.0001, 0.3, 99.0):
        recorder.response(b"PUT", 200, None, seconds, None, 0)
    found = samples(blocks)
    name = "filestored_request_duration_seconds"
    counts = {bound: found[f"{name}_bucket", bound, "PUT"] for bound in ("0.0005", "0.25", "0.5", "+Inf")}
    assert {"0.0005": 1, "0.25": 1, "0.5": 2, "+Inf": 3} == counts
    assert 3 == found[f"{name}_count", "PUT"]
    assert pytest.approx(99.3001) == found[f"{name}_sum", "PUT"]


def test_version_is_a_label(blocks):
    assert 1 == samples(blocks)["filestored_build_info", __version__]


def test_value_that_is_unknown_has_no_series(blocks):
    assert ("filestored_store_free_bytes",) not in samples(blocks)
    assert 5 == samples(blocks, {"filestored_store_free_bytes": 5})["filestored_store_free_bytes",]


@pytest.mark.parametrize("disks", [False, True])
@pytest.mark.parametrize("engines", [False, True])
def test_suspension_of_any_process_is_shown(disks, engines, blocks):
    Recorder(blocks[1]).suspended(disks, engines)
    assert int(disks or engines) == samples(blocks)["filestored_writes_suspended",]
