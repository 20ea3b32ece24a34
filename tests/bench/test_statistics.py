"""Samples become rates, costs and ratios; numbers become text."""

import math

import pytest

from bench.statistics import Sample, Span, costs, cpu_ratios, rates, ratios
from bench.tables import mib, number, spread, table, times


def samples(*amounts, cpu=1.0):
    return [Sample(amount, 2.0, cpu) for amount in amounts]


def test_sample_has_rate_cost_and_cpu_use():
    sample = Sample(1000, 2.0, 0.5)
    assert (500.0, 500.0, 0.25) == (sample.rate, sample.cost, sample.busy)


def test_sample_without_requests_has_infinite_cost():
    assert math.inf == Sample(0, 2.0, 0.5).cost


def test_span_is_minimum_median_and_maximum():
    assert Span(5.0, 10.0, 500.0) == rates(samples(1000, 20, 10))
    assert Span(1000.0, 50000.0, 100000.0) == costs(samples(1000, 20, 10))


def test_ratios_are_paired_by_round():
    """The machine was ten times as slow in the second round; the ratio of neighbours does not see it."""
    assert Span(2.0, 2.0, 2.0) == ratios(samples(2000, 200, 2000), samples(1000, 100, 1000))


def test_ratios_skip_a_round_without_requests():
    assert Span(2.0, 2.0, 2.0) == ratios(samples(2000, 2000), samples(1000, 0))


def test_ratios_without_any_requests_are_none():
    assert None is ratios(samples(2000), samples(0))


def test_cpu_ratios_are_those_of_costs_paired_by_round():
    assert Span(2.0, 3.0, 6.0) == cpu_ratios(samples(10, 10, 10), samples(10, 5, 15, cpu=3.0))


NUMBERS = {
    0: "0",
    0.056: "0.056",
    1.234: "1.23",
    56.04: "56",
    99.96: "100",
    123.4: "123",
    1234567.8: "1,234,568",
}


@pytest.mark.parametrize("value", NUMBERS)
def test_number_has_three_significant_digits(value):
    assert NUMBERS[value] == number(value)


def test_spread_shows_extremes_of_several_rounds():
    assert "100 (90-200)" == spread(Span(90, 100, 200))
    assert "100" == spread(Span(100, 100, 100))
    assert ("1.50 (1.00-2.00)", "1.50") == (times(Span(1, 1.5, 2)), times(Span(1.5, 1.5, 1.5)))


def test_mib_formats_bytes():
    assert "1,024.5 MiB" == mib(1024.5 * 2**20)


def test_table_is_markdown_with_right_aligned_numbers():
    assert [
        "| server | n/s |",
        "| ------ | --: |",
        "| a      |   1 |",
        "| b      |  22 |",
    ] == table(["server", "n/s"], [["a", "1"], ["b", "22"]]).splitlines()
