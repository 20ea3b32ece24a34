"""Thread pool: order, threads on demand, failures, and what a job leaves behind."""

import threading
import weakref

import pytest
from twisted.python.failure import Failure

from filestored.storage.thread_pool import ThreadPool, in_parallel
from tests.daemon_process import until


@pytest.fixture
def open_pool():
    opened = []

    def open_it(max_threads, start=True):
        pool = ThreadPool("test", max_threads)
        if start:
            pool.start()
        opened.append(pool)
        return pool

    yield open_it
    for pool in opened:
        pool.stop()


def test_jobs_run_in_order(open_pool):
    results = []
    pool = open_pool(1)
    for number in range(100):
        pool.call(results.append, lambda number=number: number)
    until(lambda: len(results) == 100, "all jobs have run")
    assert list(range(100)) == results


def test_jobs_before_the_start_run_after_it(open_pool):
    results = []
    pool = open_pool(2, start=False)
    for _ in range(5):
        pool.call(results.append, threading.get_ident)
    assert [] == results
    pool.start()
    until(lambda: len(results) == 5, "all jobs have run")
    assert threading.get_ident() not in results


def test_idle_thread_is_used_again(open_pool):
    pool, results = open_pool(8), []
    for number in range(5):
        pool.call(results.append, threading.get_ident)
        until(lambda number=number: len(results) == number + 1, "the job has run")
        until(lambda: pool._unfinished == 0, "the thread is idle")
    assert 1 == len(set(results))


def test_failure_is_a_result_and_the_thread_stays(open_pool):
    pool, results = open_pool(1), []
    pool.call(results.append, lambda: 1 / 0)
    pool.call(results.append, lambda: "next")
    until(lambda: len(results) == 2, "both jobs have run")
    assert isinstance(results[0], Failure)
    assert results[0].check(ZeroDivisionError)
    assert "next" == results[1]


def test_idle_thread_holds_nothing_of_its_last_job(open_pool):
    class Buffer:
        pass

    pool, results, buffer = open_pool(1), [], Buffer()
    held = weakref.ref(buffer)
    pool.call(results.append, lambda buffer=buffer: len(str(buffer)))
    del buffer
    until(lambda: held() is None, "the buffer is free")


def test_results_in_parallel_keep_the_order():
    assert [str(number) for number in range(50)] == in_parallel(str, range(50), 7)
    assert [] == in_parallel(str, [], 7)


def test_first_failure_in_parallel_is_raised():
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda number: 1 // number, [1, 2, 0, 3], 2)
