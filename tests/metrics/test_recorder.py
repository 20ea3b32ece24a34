"""Recorder: each call changes the series that it should, and no other one."""

import threading
from bisect import bisect_left

import pytest

from filestored.metrics import table
from filestored.metrics.blocks import BUCKETS, SharedBlocks
from filestored.metrics.recorder import Recorder
from filestored.metrics.refusals import Refusal
from filestored.metrics.table import SECONDS, Kind
from filestored.metrics.totals import Totals


class Counted:
    """A recorder, and the totals of its block."""

    def __init__(self):
        shared = SharedBlocks.create(1, shared=False)
        self.recorder, self.totals = Recorder(shared.blocks[0]), Totals(shared.blocks)

    def changed(self):
        """The series that are not zero, by name and labels; those of histograms with their counts."""
        found = {}
        for metric in table.OF_WORKERS:
            for labels in metric.series():
                if metric.kind is Kind.HISTOGRAM:
                    value = sum(self.totals.histogram(metric, labels)[0])
                else:
                    value = self.totals.value(metric, labels)
                if value:
                    found[metric.name.removeprefix("filestored_"), *labels] = value
        return found


@pytest.fixture
def counted():
    return Counted()


def test_response_is_counted_by_method_and_class_of_status(counted):
    counted.recorder.response(b"POST", 201, None, 0.2, 0.1, 64)
    assert {
        ("requests_total", "POST", "2xx"): 1,
        ("response_sent_bytes_total",): 64,
        ("time_to_first_byte_seconds", "POST"): 1,
        ("request_duration_seconds", "POST"): 1,
    } == counted.changed()


def test_unknown_method_is_counted_as_other(counted):
    counted.recorder.response(b"BREW", 204, None, 0.2, 0.1, 0)
    assert 1 == counted.changed()["requests_total", "other", "2xx"]


def test_response_that_was_not_begun_has_no_first_byte(counted):
    counted.recorder.response(b"GET", 499, None, 0.2, None, 0)
    assert {("requests_total", "GET", "4xx"): 1, ("request_duration_seconds", "GET"): 1} == counted.changed()


REFUSALS = {
    (400, None): {("refusals_total", "malformed"): 1},
    (401, None): {("refusals_total", "unauthorized"): 1},
    (401, Refusal.TOKEN): {("refusals_total", "unauthorized"): 1, ("tokens_refused_total",): 1},
    (403, None): {("refusals_total", "forbidden"): 1},
    (403, Refusal.LINK): {("refusals_total", "forbidden"): 1, ("tokens_refused_total",): 1},
    (403, Refusal.ORIGIN): {("refusals_total", "origin"): 1},
    (404, None): {},
    (405, None): {("refusals_total", "other"): 1},
    (406, Refusal.NO_IMAGE): {("refusals_total", "other"): 1, ("images_refused_total",): 1},
    (408, None): {("refusals_total", "timeout"): 1},
    (409, None): {("refusals_total", "conflict"): 1},
    (413, None): {("refusals_total", "too_large"): 1},
    (413, Refusal.IMAGE_TOO_LARGE): {("refusals_total", "too_large"): 1, ("images_refused_total",): 1},
    (421, None): {("refusals_total", "origin"): 1},
    (422, None): {("refusals_total", "digest_mismatch"): 1},
    (431, None): {("refusals_total", "too_large"): 1},
    (499, None): {},
    (503, None): {("refusals_total", "overloaded"): 1},
    (503, Refusal.SUSPENDED): {("refusals_total", "suspended"): 1},
    (507, None): {("refusals_total", "storage_full"): 1},
    (507, Refusal.QUOTA): {("refusals_total", "quota"): 1},
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_is_counted_by_its_reason(case, counted):
    status, refusal = case
    counted.recorder.response(b"GET", status, refusal, 0.2, 0.1, 0)
    refused = {"refusals_total", "tokens_refused_total", "images_refused_total"}
    assert REFUSALS[case] == {key: value for key, value in counted.changed().items() if key[0] in refused}


def test_input_that_is_no_request_is_counted_as_other_method(counted):
    counted.recorder.rejected(431)
    assert {("requests_total", "other", "4xx"): 1, ("refusals_total", "too_large"): 1} == counted.changed()


def test_hits_of_a_batch_are_counted_before_they_are_sent(counted):
    hits = counted.recorder.hits
    hits.add(100)
    hits.add(50)
    hits.write()
    expected = {
        ("requests_total", "GET", "2xx"): 2,
        ("response_sent_bytes_total",): 150,
        ("time_to_first_byte_seconds", "GET"): 2,
        ("request_duration_seconds", "GET"): 2,
    }
    assert expected == counted.changed()
    assert [0] * (BUCKETS - 1) + [2] == counted.totals.histogram(table.FIRST_BYTE, ("GET",))[0]
    hits.add_durations()
    assert expected == counted.changed()
    assert 0 == counted.totals.histogram(table.FIRST_BYTE, ("GET",))[0][-1]
    assert 0 < counted.totals.histogram(table.DURATION, ("GET",))[1]


def test_batches_of_hits_are_added(counted):
    for _ in range(3):
        counted.recorder.hits.add(10)
        counted.recorder.hits.write()
        counted.recorder.hits.add_durations()
    assert (3, 30) == tuple(
        counted.changed()[key] for key in (("requests_total", "GET", "2xx"), ("response_sent_bytes_total",))
    )
    assert 0 == counted.recorder.hits.count


@pytest.mark.parametrize("seconds", [0.0001, 0.0005, 0.3, 99.0])
def test_all_hits_of_a_batch_have_its_duration(seconds, counted, monkeypatch):
    times = iter([5.0, 5.0 + seconds])
    monkeypatch.setattr("filestored.metrics.hits.monotonic", lambda: next(times))
    for _ in range(4):
        counted.recorder.hits.add(1)
    counted.recorder.hits.write()
    counted.recorder.hits.add_durations()
    counts, total = counted.totals.histogram(table.DURATION, ("GET",))
    assert 4 == counts[bisect_left(SECONDS, 5.0 + seconds - 5.0)]
    assert pytest.approx(4 * seconds) == total


def test_hits_are_added_to_the_histogram_of_get_only(counted):
    counted.recorder.hits.add(100)
    counted.recorder.hits.write()
    assert 0 == sum(counted.totals.histogram(table.DURATION, ("HEAD",))[0])


def test_hits_continue_those_of_the_process_before():
    shared = SharedBlocks.create(1, shared=False)
    for size in (10, 5):
        recorder = Recorder(shared.blocks[0])
        recorder.hits.add(size)
        recorder.hits.write()
    assert 2 == Totals(shared.blocks).value(table.REQUESTS, ("GET", "2xx"))
    assert 15 == Totals(shared.blocks).value(table.SENT)


@pytest.mark.parametrize("number", range(BUCKETS))
def test_duration_is_in_the_bucket_of_its_upper_bound(number, counted):
    seconds = SECONDS[number] if number < len(SECONDS) else SECONDS[-1] + 1
    counted.recorder.response(b"GET", 200, None, seconds, None, 0)
    counts, total = counted.totals.histogram(table.DURATION, ("GET",))
    assert [int(each == number) for each in range(BUCKETS)] == counts
    assert seconds == total


def test_uploads_are_in_progress_until_they_end(counted):
    for _ in range(3):
        counted.recorder.upload_began()
    counted.recorder.upload_ended(True)
    counted.recorder.upload_ended(None)
    counted.recorder.upload_counted(None)
    assert {
        ("uploads_total", "created"): 1,
        ("uploads_total", "failed"): 2,
        ("uploads_in_progress",): 1,
    } == counted.changed()


def test_connections_are_counted_while_open_and_for_ever(counted):
    counted.recorder.connection_made()
    counted.recorder.connection_made()
    counted.recorder.connection_lost()
    counted.recorder.connection_refused()
    assert {
        ("connections",): 1,
        ("connections_total",): 2,
        ("connections_refused_total",): 1,
    } == counted.changed()


@pytest.mark.parametrize("disks", [False, True])
@pytest.mark.parametrize("engines", [False, True])
def test_suspension_is_known_until_it_ends(disks, engines, counted):
    counted.recorder.suspended(disks, engines)
    assert (disks, engines) == (counted.totals.disks_suspended, counted.totals.engines_away)
    counted.recorder.suspended(False, False)
    assert (False, False) == (counted.totals.disks_suspended, counted.totals.engines_away)


def test_calls_of_many_threads_are_all_counted(counted):
    def count():
        for _ in range(2000):
            counted.recorder.from_threads.flushed(0.25)
            counted.recorder.from_threads.lines_dropped(2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {("fsync_seconds",): 8000, ("log_lines_dropped_total",): 16000} == counted.changed()
    assert 2000.0 == counted.totals.histogram(table.FSYNC)[1]
