"""Fair queue: one slot per owner, round robin, bounds, cancellation."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from filestored.errors import Overloaded
from filestored.images.decoder.fair_queue import FairQueue


class Bench:
    """A fair queue whose jobs end when the test says so."""

    def __init__(self, slots=2, max_waiting=64, max_waiting_each=16):
        self.queue = FairQueue(slots, max_waiting=max_waiting, max_waiting_each=max_waiting_each)
        self.started = []
        self.ends = {}
        self.results = {}

    def add(self, *names, minor=False):
        """Add jobs; the letters of a name are its owner."""
        jobs = [self._add(name, minor) for name in names]
        return jobs[0] if len(jobs) == 1 else jobs

    def _add(self, name, minor):
        def start():
            self.started.append(name)
            self.ends[name] = Deferred()
            return self.ends[name]

        owner = name.rstrip("0123456789")
        job = Deferred.fromCoroutine(self.queue.run(owner, start, minor=minor))
        job.addBoth(lambda result: self.results.__setitem__(name, getattr(result, "type", result)))
        return job

    def end(self, *names):
        for name in names:
            self.ends[name].callback(f"result of {name}")


def test_one_owner_holds_one_slot():
    bench = Bench()
    bench.add("a1", "a2", "b1")
    assert bench.started == ["a1", "b1"]
    bench.end("a1")
    assert bench.started == ["a1", "b1", "a2"]
    assert bench.results == {"a1": "result of a1"}


def test_free_slots_go_round_robin_over_owners():
    bench = Bench(slots=1)
    bench.add("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    order = ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    for name in order:
        assert bench.started[-1] == name
        bench.end(name)
    assert bench.started == order


def test_cancelled_job_leaves_the_queue():
    bench = Bench(slots=1, max_waiting_each=2)
    bench.add("a1")
    waiting = bench.add("a2", "a3")
    waiting[0].cancel()
    assert bench.results == {"a2": CancelledError}
    bench.add("a4")
    bench.end("a1", "a3")
    assert bench.started == ["a1", "a3", "a4"]


def test_cancelled_running_job_frees_its_slot():
    bench = Bench(slots=1)
    running = bench.add("a1")
    bench.add("b1")
    running.cancel()
    assert bench.results == {"a1": CancelledError}
    assert bench.started == ["a1", "b1"]


def test_job_beyond_the_limit_of_its_owner_is_refused():
    bench = Bench(slots=1, max_waiting_each=2)
    bench.add("a1", "a2", "a3", "a4", "b1")
    assert bench.results == {"a4": Overloaded}
    bench.end("a1", "a2", "b1", "a3")
    assert bench.started == ["a1", "a2", "b1", "a3"]


def test_full_queue_displaces_the_owner_with_the_most_waiting():
    bench = Bench(slots=1, max_waiting=4, max_waiting_each=3)
    bench.add("a1", "a2", "a3", "a4", "b1")
    assert bench.results == {}
    bench.add("c1")
    assert bench.results == {"a4": Overloaded}
    bench.add("b2")
    assert bench.results == {"a4": Overloaded, "b2": Overloaded}
    bench.end("a1", "a2", "b1", "c1", "a3")
    assert bench.started == ["a1", "a2", "b1", "c1", "a3"]


@pytest.mark.parametrize(("slots", "started"), [(1, ["a"]), (2, ["a", "c"]), (3, ["a", "b", "c"])])
def test_minor_jobs_leave_one_slot_free(slots, started):
    bench = Bench(slots)
    bench.add("a", "b", minor=True)
    bench.add("c")
    assert bench.started == started
    for name in "abc":
        bench.end(bench.started["abc".index(name)])
    assert sorted(bench.started) == ["a", "b", "c"]


def test_major_job_overtakes_a_blocked_minor_job_of_its_owner():
    bench = Bench(slots=2)
    bench.add("a1", "b1", minor=True)
    bench.add("b2")
    assert bench.started == ["a1", "b2"]


def test_failed_job_frees_its_slot():
    bench = Bench(slots=1)
    bench.add("a1", "b1")
    bench.ends["a1"].errback(OSError())
    assert bench.results == {"a1": OSError}
    assert bench.started == ["a1", "b1"]


def test_jobs_that_end_at_once_do_not_recurse():
    queue = FairQueue(1, max_waiting=5000, max_waiting_each=5000)
    first = Deferred()
    jobs = [Deferred.fromCoroutine(queue.run("a", lambda: first))]

    async def at_once():
        return "done"

    jobs += [Deferred.fromCoroutine(queue.run(f"b{number}", at_once)) for number in range(1000)]
    first.callback("done")
    assert [job.result for job in jobs] == ["done"] * 1001
