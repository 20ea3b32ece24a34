"""Workloads, clients' output, files, command line and document fit together."""

import hashlib
import os
from itertools import islice

import pytest

from bench import files, report
from bench.__main__ import DOCUMENT, EXTRAS, RESTING, arguments
from bench.cpu_affinity import Cores, on
from bench.environment import ALL
from bench.processes import ProcessTree
from bench.upload_client import BLOCK, Target, upload
from bench.workloads import WORKS
from bench.wrk import Count, parse

NAMES = {kind.name for kind, _ in ALL}


def test_every_work_has_a_name_of_its_own():
    names = [*(work.name for work in WORKS), *EXTRAS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_all_who_take_part_and_all_goals_are_known_servers(work):
    assert {*work.who, *work.goals, work.ours} <= NAMES
    assert {*work.goals, work.ours} <= set(work.who)


def test_those_whose_memory_is_looked_at_are_known_servers():
    assert set(RESTING) <= NAMES


@pytest.mark.parametrize("kind", [kind for kind, _ in ALL], ids=lambda kind: kind.name)
def test_every_server_says_what_it_omits_and_the_document_says_it_too(kind):
    with open(DOCUMENT, encoding="utf-8") as file:
        document = file.read()
    assert kind.omits in document


def test_the_document_has_a_place_for_figures():
    with open(DOCUMENT, encoding="utf-8") as file:
        assert "x" in report.replaced(file.read(), "x")


def test_counts_are_found_in_what_wrk_prints():
    assert Count(100, 2.0, 4096, 3) == parse("Running 2s test\n  9 requests\n\nsample 100 2000000 4096 3\n")


def test_wrk_without_counts_is_an_error_that_quotes_it():
    with pytest.raises(RuntimeError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_the_files_are_the_same_in_each_run_and_all_distinct():
    kind = files.Kind("x", 100, 50)
    assert list(kind.contents()) == list(kind.contents())
    assert 50 == len(set(kind.contents()))


def test_small_files_are_distinct_and_of_4_kib():
    found = list(files.small(1000))
    assert (1000, {4096}) == (len(set(found)), {len(content) for content in found})


def test_files_rest_where_a_store_has_them(tmp_path):
    for number in range(256):
        (tmp_path / f"{number:02x}").mkdir()
    digests = files.shelve(str(tmp_path), iter([b"one", b"two"]))
    assert [hashlib.sha256(content).hexdigest() for content in (b"one", b"two")] == digests
    assert b"two" == (tmp_path / files.below(digests[1])).read_bytes()


def test_a_server_has_the_first_cores_and_the_client_the_others():
    cores = Cores((3, 5, 7, 9))
    assert ((3,), (5, 7, 9), (3, 5), (7, 9)) == (
        *(cores.servers(1), cores.clients(1)),
        *(cores.servers(2), cores.clients(2)),
    )


def test_where_no_core_is_left_the_client_shares_all():
    assert (0, 1) == Cores((0, 1)).clients(2)


def test_cores_are_given_back():
    before = os.sched_getaffinity(0)
    with on((min(before),)):
        assert {min(before)} == os.sched_getaffinity(0)
    assert before == os.sched_getaffinity(0)


def test_process_tree_counts_memory_and_time():
    processes = ProcessTree(os.getpid())
    assert os.getpid() == processes.pids()[0]
    assert 0 < processes.resident()
    assert 0 < processes.peak()
    assert 0 <= processes.cpu()


def test_who_has_ended_counts_for_nothing():
    processes = ProcessTree(2**22 + 1)
    assert (0, 0, 0) == (processes.cpu(), processes.resident(), processes.peak())


def test_quick_is_short_and_what_is_said_beside_it_counts():
    chosen = arguments(["--quick", "--rounds", "3", "--only", "get-4k", "--only", "idle"])
    assert (3, 1, ["get-4k", "idle"]) == (chosen.rounds, chosen.seconds, chosen.only)


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        arguments(["--only", "everything"])
    assert "get-4k" in capsys.readouterr().err


@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_a_large_upload_is_as_long_as_it_says(form, listener):
    status = upload(listener.port, Target("POST", "/", form, {"act": "bput"} if form else {}), 2 * len(BLOCK))
    assert 201 == status
    assert listener.announced == listener.received
    assert listener.received > 2 * len(BLOCK) if form else listener.received == 2 * len(BLOCK)


def test_no_two_large_uploads_are_the_same(listener):
    for _ in range(2):
        upload(listener.port, Target("PUT", "/"), len(BLOCK))
    assert 2 == len(set(islice(listener.digests, 2)))
