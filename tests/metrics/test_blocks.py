"""Blocks of shared memory: one writer each, a killed writer, a new writer of the same block."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

from filestored.metrics.blocks import BLOCK_CELLS, SharedBlocks, place
from filestored.metrics.recorder import Recorder
from filestored.metrics.table import CONNECTIONS, CONNECTIONS_MADE, INTERNAL, OF_WORKERS, REQUESTS, Kind
from filestored.metrics.totals import Totals
from tests.daemon_process import TIMEOUT

WRITER = """
import os, signal, sys
from filestored.metrics.blocks import SharedBlocks
from filestored.metrics.recorder import Recorder
descriptor, count, number, times = map(int, sys.argv[1:])
recorder = Recorder(SharedBlocks(count, descriptor).blocks[number])
for _ in range(times):
    recorder.connection_made()
    recorder.hits.add(10)
    recorder.hits.write()
    recorder.hits.add_durations()
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A process that counts, and is killed as soon as it has."""


def count_and_die(blocks, number, times):
    """Run `WRITER` with an inherited block."""
    words = [str(blocks.descriptor), str(len(blocks.blocks)), str(number), str(times)]
    done = subprocess.run(
        [sys.executable, "-c", WRITER, *words], pass_fds=[blocks.descriptor], timeout=TIMEOUT, check=False
    )
    assert -signal.SIGKILL == done.returncode


@contextmanager
def inheritable_blocks():
    """Two blocks that other processes can inherit; the last reference to them closes the memory map."""
    made = SharedBlocks.create(2)
    yield made
    os.close(made.descriptor)


def test_cells_of_all_series_are_distinct():
    first = [place(each, *labels) for each in (*OF_WORKERS, *INTERNAL) for labels in each.series()]
    assert len(first) == len(set(first))
    assert max(first) < BLOCK_CELLS


def test_block_of_a_process_alone_has_no_descriptor():
    assert SharedBlocks.create(1, shared=False).descriptor is None


def test_killed_processes_lose_no_count():
    with inheritable_blocks() as blocks:
        count_and_die(blocks, 0, 100)
        count_and_die(blocks, 1, 20)
        totals = Totals(blocks.blocks)
        assert 120 == totals.value(CONNECTIONS_MADE)
        assert 120 == totals.value(REQUESTS, ("GET", "2xx"))


def test_new_process_continues_the_counters_of_a_killed_one():
    with inheritable_blocks() as blocks:
        count_and_die(blocks, 0, 100)
        count_and_die(blocks, 0, 3)
        assert 103 == Totals(blocks.blocks).value(CONNECTIONS_MADE)


def test_gauges_of_a_block_begin_at_zero_with_a_new_process():
    with inheritable_blocks() as blocks:
        count_and_die(blocks, 0, 100)
        assert 100 == Totals(blocks.blocks).value(CONNECTIONS)
        Recorder(blocks.blocks[0])
        assert 0 == Totals(blocks.blocks).value(CONNECTIONS)


def test_clearing_gauges_keeps_counters_and_histograms():
    block = SharedBlocks.create(1, shared=False).blocks[0]
    for each in (*OF_WORKERS, *INTERNAL):
        block.cells[place(each, *each.series()[0])] = 7
    block.clear_gauges()
    for each in (*OF_WORKERS, *INTERNAL):
        expected = 0 if each.kind is Kind.GAUGE else 7
        assert expected == block.cells[place(each, *each.series()[0])], each.name
