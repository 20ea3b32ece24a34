"""Report of a run."""

import pytest

from bench.engine_memory import EngineMemory
from bench.idle import Footprint
from bench.large_store import LargeStore
from bench.parallel_uploads import ParallelUploads
from bench.report import (
    BEGIN,
    END,
    comparison,
    engine_memory,
    footprints,
    group,
    large_store,
    option_costs,
    parallel_uploads,
    replace_figures,
)
from bench.rounds import Result
from bench.statistics import Sample
from bench.workloads import Workload


def run(server, seconds):
    raise AssertionError("nothing is measured here")


def result(samples, **more):
    workload = Workload("w", "A workload", ("filestored", "nginx"), run, goals={"nginx": 0.6})
    return Result(workload, samples, **more)


def cells(text, first):
    """The cells of the row of a table that begins with a word."""
    row = next(line for line in text.splitlines() if line.startswith(f"| {first} "))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_goal_is_met_by_the_median_ratio():
    ours = [Sample(50, 1, 0.5), Sample(70, 1, 0.5), Sample(80, 1, 0.5)]
    text = comparison(result({"filestored": ours, "nginx": [Sample(100, 1, 0.25)] * 3}))
    assert ["nginx", "100", "0.70 (0.50-0.80)", "≥ 0.6 met"] == cells(text, "nginx")[:4]


def test_missed_goal_is_reported():
    text = comparison(result({"filestored": [Sample(50, 1, 0.5)], "nginx": [Sample(100, 1, 0.5)]}))
    assert "≥ 0.6 missed" == cells(text, "nginx")[3]


def test_row_has_cost_cpu_use_errors_and_sync_time():
    samples = {"filestored": [Sample(1000, 2, 0.5)], "nginx": [Sample(1000, 2, 1.0, 3, 0.25)]}
    assert ["1,000", "2.00", "50%", "3", "0.25 s"] == cells(comparison(result(samples)), "nginx")[4:]


def test_failed_server_is_reported_with_its_reason():
    text = comparison(result({"filestored": [Sample(50, 1, 0.5)]}, failures={"nginx": "it broke"}))
    assert "nginx failed: it broke" in text


def test_report_without_filestored_has_no_ratios():
    text = comparison(result({"nginx": [Sample(100, 1, 0.5)]}, failures={"filestored": "it broke"}))
    assert ["", "", "5,000", ""] == cells(text, "nginx")[2:6]


def test_server_without_requests_has_no_ratio():
    text = comparison(result({"filestored": [Sample(50, 1, 0.5)], "nginx": [Sample(0, 1, 0.5)]}))
    assert ["", "missed" in text] == [cells(text, "nginx")[2], False]


@pytest.mark.parametrize(("cpu", "verdict"), [(1.1, "met"), (1.2, "missed")])
def test_cpu_time_with_a_token_is_compared_with_a_goal(cpu, verdict):
    ours, other = (
        [Sample(1000, 1, 1.0)] * 3,
        [Sample(1000, 1, cpu), Sample(1000, 1, 1.0), Sample(1000, 1, 2.0)],
    )
    text = option_costs(result({"filestored": ours, "nginx": other}), 1.1)
    assert [f"{cpu:.2f} (1.00-2.00)", f"≤ 1.1 {verdict}", "0"] == cells(text, "nginx")[2:]
    assert ["1,000", "", "", "0"] == cells(text, "filestored")[1:]


def test_cpu_time_without_a_goal_has_no_verdict():
    samples = {"filestored": [Sample(1000, 1, 1.0)], "nginx": [Sample(1000, 1, 2.0)]}
    assert ["2.00", ""] == cells(option_costs(result(samples), None), "nginx")[2:4]


def test_missing_connections_have_a_footnote():
    text = footprints(
        [Footprint("copyparty", 1.5, [2**20, 2**21], 800, 2048.0, 0.01, "it closed a connection")]
    )
    assert ["1.50 s", "1.0 MiB + 2.0 MiB", "800*", "2.0 KiB", "1.0%"] == cells(text, "copyparty")[1:]
    assert "\\* copyparty: it closed a connection" in text


def test_memory_of_filestored_is_compared_with_goals():
    text = footprints([Footprint("filestored, 2 workers", 1.5, [90 * 2**20, 44 * 2**20], 10, 13_000.0, 0.0)])
    assert "44.0 MiB an idle worker (goal: at most 45 MiB, met)" in text
    assert "12.7 KiB an idle connection (goal: at most 12 KiB, missed)" in text


def test_large_store_start_time_has_a_goal_of_one_second():
    samples = {"filestored": [Sample(50, 1, 0.5)], "nginx": [Sample(100, 1, 0.5)]}
    text = large_store(LargeStore(1_000_000, 0.5, 1.25, [result(samples)]))
    assert "### 1,000,000 stored files" in text
    assert "1.25 s after its start (goal: at most 1 s, missed); with 1,000 files, 0.50 s." in text
    assert "### A workload" in text


@pytest.mark.parametrize(("grown", "verdict"), [(64, "met"), (65, "missed")])
def test_parallel_uploads_have_a_memory_goal_of_64_mib(grown, verdict):
    assert verdict in parallel_uploads(ParallelUploads(64, 10.0, 2**20, (grown + 1) * 2**20, 0))


@pytest.mark.parametrize(("grown", "verdict"), [(64, "met"), (65, "missed")])
def test_memory_on_an_engine_has_a_goal_of_64_mib_without_mapped_pages(grown, verdict):
    found = EngineMemory(64, 10.0, 2, (2**20, 2**20), ((grown + 1) * 2**20, 2**33), 2**34, 0)
    text = engine_memory(found)
    assert f"{grown}.0 MiB more (goal: at most 64 MiB, {verdict})" in text
    assert "64 uploads of 256 MiB at once on the engine" in text
    assert "1,638 MiB/s, 2 refused" in text


@pytest.mark.parametrize(("kept", "verdict"), [(0, "met"), (2**20, "missed")])
def test_spool_space_that_is_kept_misses_the_goal(kept, verdict):
    text = engine_memory(EngineMemory(1, 1.0, 0, (0, 0), (0, 0), 2**30, kept))
    assert (
        f"1,024.0 MiB of the disk at most and {kept / 2**20:.1f} MiB afterwards (goal: 0, {verdict})" in text
    )


def test_workload_is_a_group_of_bars():
    found = group(result({"filestored": [Sample(50, 1, 0.5)], "nginx": [Sample(1000, 1, 0.5)]}))
    assert "A workload (requests/s)" == found.title
    assert [("filestored", True, "50"), ("nginx", False, "1,000")] == [
        (bar.name, bar.ours, bar.note) for bar in found.bars
    ]


def test_replace_figures_changes_only_what_is_between_the_marks():
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n" == replace_figures(document, "new\n")
    assert replace_figures(document, "new") == replace_figures(replace_figures(document, "newer"), "new")


@pytest.mark.parametrize("document", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_replace_figures_refuses_a_document_without_marks(document):
    with pytest.raises(ValueError, match="no <!-- figures"):
        replace_figures(document, "new")
