"""The simulation of daemons on an engine agrees with the formulas of queueing theory."""

import math
import random
from dataclasses import dataclass
from statistics import median

import pytest

from bench.engine_simulation import Deployment, Load, Simulation, arguments, limits, main
from bench.published_engines import ENGINES, READ, WRITE, Engine, Lognormal

UNLIMITED = 1e12
NO_CPU = (0.0, 0.0)


@dataclass(frozen=True)
class Constant:
    mean: float

    def draw(self, source):
        return self.mean


@dataclass(frozen=True)
class Exponential:
    mean: float

    def draw(self, source):
        return source.expovariate(1 / self.mean)


def engine(latency, limit=UNLIMITED, partitions=1):
    return Engine("an engine", partitions, (limit, limit), (latency, latency))


def simulate(tested, deployment, load, requests=60_000):
    return Simulation(tested, deployment, load, requests).run()


@pytest.mark.parametrize("threads", [12, 20, 60], ids=["long queues", "short queues", "no queues"])
def test_requests_inside_are_rate_times_latency_by_littles_law(threads):
    found = simulate(engine(Exponential(0.1)), Deployment(1, 1, (threads, threads), NO_CPU), Load(100.0, 1.0))
    assert found.inside == pytest.approx(found.throughput * found.mean, rel=0.02)


@pytest.mark.parametrize("tested", ENGINES, ids=lambda each: each.name)
def test_littles_law_holds_on_published_engines(tested):
    deployment, load = Deployment(4, 2, (64, 64), (500e-6, 700e-6)), Load(2_000.0)
    found = simulate(tested, deployment, load)
    assert found.inside == pytest.approx(found.throughput * found.mean, rel=0.02)


def test_busy_threads_are_rate_times_time_that_each_is_held():
    found = simulate(engine(Exponential(0.1)), Deployment(2, 2, (50, 50), (0.001, 0.001)), Load(400.0))
    assert found.busy == pytest.approx(400 * 0.101, rel=0.02)


def test_wait_for_a_thread_is_that_of_an_m_m_c_queue():
    threads, rate, held = 10, 80.0, 0.1
    found = simulate(
        engine(Exponential(held)), Deployment(1, 1, (threads, threads), NO_CPU), Load(rate, 1.0), 200_000
    )
    assert found.mean - held == pytest.approx(erlang_wait(threads, rate, held), rel=0.1)


def erlang_wait(servers, rate, held):
    """Mean wait by Erlang's C formula."""
    offered = rate * held
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(terms) + last) * held / (servers - offered)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_wait_for_a_partition_is_that_of_an_m_d_1_queue(load):
    limit = 1000.0
    found = simulate(
        engine(Constant(0.0), limit),
        Deployment(1, 1, (10_000, 10_000), NO_CPU),
        Load(load * limit, 1.0),
        200_000,
    )
    assert found.mean == pytest.approx(load / (2 * limit * (1 - load)), rel=0.1)


SATURATED = {
    "threads": (engine(Constant(0.1)), Deployment(2, 3, (5, 5), NO_CPU), 2 * 3 * 5 / 0.1),
    "cores": (engine(Constant(0.001)), Deployment(2, 2, (100, 100), (0.004, 0.004)), 2 * 2 / 0.004),
    "partitions": (engine(Constant(0.001), 50.0, 8), Deployment(1, 4, (1000, 1000), NO_CPU), 8 * 50.0),
}


@pytest.mark.parametrize("resource", SATURATED)
def test_saturated_resource_limits_the_throughput(resource):
    tested, deployment, expected = SATURATED[resource]
    found = simulate(tested, deployment, Load(2 * expected, 1.0))
    assert found.saturated
    assert found.throughput == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("resource", SATURATED)
def test_formula_of_the_limit_names_the_resource(resource):
    tested, deployment, expected = SATURATED[resource]
    maxima = limits(tested, deployment, Load(1.0, 1.0))
    assert resource == min(maxima, key=maxima.get)
    assert expected == pytest.approx(maxima[resource])


def test_unsaturated_daemons_answer_what_is_asked():
    found = simulate(engine(Constant(0.01)), Deployment(4, 2, (16, 16), NO_CPU), Load(1000.0))
    assert not found.saturated
    assert found.throughput == pytest.approx(1000, rel=0.02)


def test_latency_without_queues_is_that_of_the_engine_and_of_the_core():
    found = simulate(engine(Lognormal(0.1, 0.2)), Deployment(100, 8, (64, 64), (0.002, 0.002)), Load(1000.0))
    assert found.quantile(0.5) == pytest.approx(math.sqrt(0.1 * 0.2) + 0.002, rel=0.02)
    assert found.quantile(0.9) == pytest.approx(0.202, rel=0.02)


def test_uploads_do_not_wait_for_threads_of_downloads():
    deployment, load = Deployment(1, 1, (10, 5), NO_CPU), Load(200.0, 0.9)
    found = simulate(engine(Constant(0.1)), deployment, load)
    assert found.throughput == pytest.approx(10 / 0.1 + load.rate * load.share(WRITE), rel=0.02)
    assert limits(engine(Constant(0.1)), deployment, load)["threads"] == pytest.approx(
        10 / 0.1 / load.share(READ)
    )


def test_quantiles_of_a_lognormal_latency_are_those_it_was_made_of():
    latency, source = Lognormal(0.003, 0.009), random.Random(1)
    drawn = sorted(latency.draw(source) for _ in range(50_000))
    assert (drawn[5_000], drawn[45_000]) == pytest.approx((0.003, 0.009), rel=0.02)
    assert median(drawn) == pytest.approx(math.sqrt(0.003 * 0.009), rel=0.02)
    assert sum(drawn) / len(drawn) == pytest.approx(latency.mean, rel=0.02)


def test_two_runs_with_one_seed_are_the_same():
    case = (ENGINES[0], Deployment(2, 2, (16, 16), (500e-6, 700e-6)), Load(500.0), 5_000)
    first, second = Simulation(*case, seed=7).run(), Simulation(*case, seed=7).run()
    other = Simulation(*case, seed=8).run()
    assert (first.throughput, first.latencies) == (second.throughput, second.latencies)
    assert first.latencies != other.latencies


def test_command_prints_a_row_for_each_engine_and_deployment(capsys):
    main(["--rate", "20000", "--daemons", "1", "10", "--threads", "16", "16", "--requests", "5000"])
    printed = capsys.readouterr().out
    assert "20,000 requests/s, 90% of them downloads" in printed
    assert len(ENGINES) * 2 == sum(line.startswith("| S3") for line in printed.splitlines())
    assert "partitions, 6,111/s" in printed


def test_run_that_ends_before_the_first_answer_is_saturated():
    found = simulate(engine(Constant(10.0)), Deployment(1, 1, (1, 1), NO_CPU), Load(1000.0), 100)
    assert found.saturated
    assert math.inf == found.quantile(0.5)


def test_options_have_the_defaults_of_the_document():
    chosen = arguments([])
    assert (100_000.0, 0.9, (1, 10, 30, 100)) == (chosen.rate, chosen.reads, tuple(chosen.daemons))
    assert (64, 32) == tuple(chosen.threads)
