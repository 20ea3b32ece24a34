"""Rate limit of reading: average, bursts, size of chunks; with a clock of the test."""

import mmap

import pytest

from filestored.storage.verification.pace import MAX_BURST_SECONDS, MAX_CHUNK_BYTES, Pace

MIB = 1024 * 1024


class FakeTime:
    """A clock that passes by sleeping, and `slept` intervals."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def seconds(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def count(pace, sizes):
    for size in sizes:
        pace.count(size, lambda: None)


@pytest.mark.parametrize("rate", [50 * MIB, 100_000, 7 * MIB])
@pytest.mark.parametrize("size", [100, 4096, 50_000])
def test_average_is_the_rate(rate, size):
    time = FakeTime()
    pace = Pace(rate, time.seconds, time.sleep)
    count(pace, [size] * 1000)
    assert 1000 * size / rate == pytest.approx(time.now - 100, rel=0.01, abs=MAX_BURST_SECONDS)


def test_lost_time_is_made_up_for_by_a_short_burst_only():
    time = FakeTime()
    pace = Pace(MIB, time.seconds, time.sleep)
    time.now += 60
    began = time.now
    count(pace, [1024] * 1024)
    assert 1.0 - MAX_BURST_SECONDS <= time.now - began


def test_without_a_rate_there_is_no_wait():
    time = FakeTime()
    count(Pace(None, time.seconds, time.sleep), [MIB] * 1000)
    assert [] == time.slept


@pytest.mark.parametrize("rate", [1, 4096, 100_000, MIB, 20 * MIB, 10_000 * MIB])
def test_chunk_is_some_pages_and_half_a_burst_at_most(rate):
    size = Pace(rate).chunk_bytes
    assert 0 == size % mmap.PAGESIZE
    assert mmap.PAGESIZE <= size <= max(mmap.PAGESIZE, min(MAX_CHUNK_BYTES, rate * MAX_BURST_SECONDS / 2))


def test_long_wait_is_interrupted_by_the_check():
    time, stopped = FakeTime(), []

    def check():
        if len(time.slept) == 3:
            stopped.append(time.now)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        Pace(1, time.seconds, time.sleep).count(10_000, check)
    assert max(time.slept) <= 0.1
    assert 1 == len(stopped)
