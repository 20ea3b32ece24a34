"""Workloads, clients' output, files, command line and document fit together."""

import hashlib
import os
from itertools import islice

import pytest

from bench import access, engine, files, metrics, report
from bench.__main__ import DOCUMENT, MEASURED_IDLE, OTHER_MEASUREMENTS, arguments
from bench.cpu_affinity import Cores, on
from bench.environment import ALL
from bench.processes import ProcessTree
from bench.upload_client import BLOCK, Target, upload
from bench.workloads import WORKLOADS
from bench.wrk import Count, parse

NAMES = {kind.name for kind, _ in ALL}


def test_workload_names_are_unique():
    names = [
        *(
            workload.name
            for workload in (*WORKLOADS, *engine.WORKLOADS, *access.WORKLOADS, *metrics.WORKLOADS)
        ),
        *OTHER_MEASUREMENTS,
    ]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_servers_and_goals_of_workloads_exist(workload):
    assert {*workload.servers, *workload.goals, workload.ours} <= NAMES
    assert {*workload.goals, workload.ours} <= set(workload.servers)


@pytest.mark.parametrize("workload", engine.WORKLOADS, ids=lambda workload: workload.name)
def test_workloads_on_an_engine_compare_filestored_with_the_gateway(workload):
    assert set(engine.NAMES) == {*workload.servers, workload.ours, *workload.goals, engine.GATEWAY}
    assert engine.OURS == workload.ours


@pytest.mark.parametrize("costs", [access.COSTS, metrics.COSTS])
def test_servers_of_workloads_with_an_option_exist(costs):
    for workload in costs.workloads:
        assert {*workload.servers, workload.ours} <= {kind.name for kind in costs.kinds}
    assert workload.ours in workload.servers


@pytest.mark.parametrize("costs", [access.COSTS, metrics.COSTS])
def test_goals_of_an_option_are_those_of_workloads(costs):
    assert set(costs.max_ratios) <= {workload.name for workload in costs.workloads}


def test_servers_with_measured_memory_exist():
    assert set(MEASURED_IDLE) <= NAMES


@pytest.mark.parametrize(
    "kind",
    [*(kind for kind, _ in ALL), *access.COSTS.kinds[1:], *metrics.COSTS.kinds[1:], *engine.KINDS],
    ids=lambda kind: kind.name,
)
def test_document_lists_what_each_server_omits(kind):
    with open(DOCUMENT, encoding="utf-8") as file:
        document = file.read()
    assert kind.omits in document


@pytest.mark.parametrize(
    "marks",
    [
        (report.BEGIN, report.END),
        (report.ENGINE_BEGIN, report.ENGINE_END),
        (report.ACCESS_BEGIN, report.ACCESS_END),
        (report.METRICS_BEGIN, report.METRICS_END),
    ],
)
def test_document_has_marks_for_figures(marks):
    with open(DOCUMENT, encoding="utf-8") as file:
        assert "x" in report.replace_figures(file.read(), "x", marks)


def test_wrk_output_is_parsed():
    assert Count(100, 2.0, 4096, 3) == parse("Running 2s test\n  9 requests\n\nsample 100 2000000 4096 3\n")


def test_wrk_output_without_counts_raises():
    with pytest.raises(RuntimeError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_files_are_distinct_and_equal_in_each_run():
    kind = files.Kind("x", 100, 50)
    assert list(kind.contents()) == list(kind.contents())
    assert 50 == len(set(kind.contents()))


def test_small_files_are_distinct_and_of_4_kib():
    found = list(files.small_files(1000))
    assert (1000, {4096}) == (len(set(found)), {len(content) for content in found})


def test_written_files_have_the_paths_of_a_store(tmp_path):
    for number in range(256):
        (tmp_path / f"{number:02x}").mkdir()
    digests = files.write_files(str(tmp_path), iter([b"one", b"two"]))
    assert [hashlib.sha256(content).hexdigest() for content in (b"one", b"two")] == digests
    assert b"two" == (tmp_path / files.stored_path(digests[1])).read_bytes()


def test_server_has_the_first_cores_and_client_the_others():
    cores = Cores((3, 5, 7, 9))
    assert ((3,), (5, 7, 9), (3, 5), (7, 9)) == (
        *(cores.for_server(1), cores.for_client(1)),
        *(cores.for_server(2), cores.for_client(2)),
    )


@pytest.mark.parametrize(
    ("cores", "behind", "client"),
    [((3,), (3,), (3,)), ((3, 5), (5,), (5,)), ((3, 5, 7, 9), (5,), (7, 9))],
)
def test_engine_has_the_first_core_and_filestored_the_second(cores, behind, client):
    found = engine.behind_engine(Cores(cores))
    assert (behind, client) == (found.for_server(1), found.for_client(1))


def test_client_shares_all_cores_when_none_is_left():
    assert (0, 1) == Cores((0, 1)).for_client(2)


def test_cpu_affinity_is_restored():
    before = os.sched_getaffinity(0)
    with on((min(before),)):
        assert {min(before)} == os.sched_getaffinity(0)
    assert before == os.sched_getaffinity(0)


def test_process_tree_has_memory_and_cpu_time():
    processes = ProcessTree(os.getpid())
    assert os.getpid() == processes.pids()[0]
    assert 0 < processes.resident()
    assert 0 < processes.peak()
    assert 0 <= processes.cpu()


def test_ended_process_counts_as_zero():
    processes = ProcessTree(2**22 + 1)
    assert (0, 0, 0) == (processes.cpu(), processes.resident(), processes.peak())


def test_explicit_options_override_quick():
    chosen = arguments(["--quick", "--rounds", "3", "--only", "get-4k", "--only", "idle"])
    assert (3, 1, ["get-4k", "idle"]) == (chosen.rounds, chosen.seconds, chosen.only)


def test_unknown_workload_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        arguments(["--only", "everything"])
    assert "get-4k" in capsys.readouterr().err


@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_large_upload_has_its_announced_length(form, listener):
    status = upload(listener.port, Target("POST", "/", form, {"act": "bput"} if form else {}), 2 * len(BLOCK))
    assert 201 == status
    assert listener.announced == listener.received
    assert listener.received > 2 * len(BLOCK) if form else listener.received == 2 * len(BLOCK)


def test_no_two_large_upload_are_the_same(listener):
    for _ in range(2):
        upload(listener.port, Target("PUT", "/"), len(BLOCK))
    assert 2 == len(set(islice(listener.digests, 2)))
