"""Samples become rates, costs and ratios; numbers become text."""

import math

import pytest

from bench.statistics import Sample, Span, costs, rates, ratios, thrift
from bench.tables import mib, number, spread, table, times


def samples(*amounts, cpu=1.0):
    return [Sample(amount, 2.0, cpu) for amount in amounts]


def test_a_sample_knows_its_rate_its_cost_and_how_busy_the_server_was():
    sample = Sample(1000, 2.0, 0.5)
    assert (500.0, 500.0, 0.25) == (sample.rate, sample.cost, sample.busy)


def test_a_turn_in_which_nothing_was_done_costs_more_than_anything():
    assert math.inf == Sample(0, 2.0, 0.5).cost


def test_a_series_is_its_median_between_its_extremes():
    assert Span(5.0, 10.0, 500.0) == rates(samples(1000, 20, 10))
    assert Span(1000.0, 50000.0, 100000.0) == costs(samples(1000, 20, 10))


def test_servers_are_compared_round_by_round():
    """The machine was ten times as slow in the second round; the ratio of neighbours does not see it."""
    assert Span(2.0, 2.0, 2.0) == ratios(samples(2000, 200, 2000), samples(1000, 100, 1000))


def test_a_round_in_which_the_other_did_nothing_has_no_ratio():
    assert Span(2.0, 2.0, 2.0) == ratios(samples(2000, 2000), samples(1000, 0))


def test_nothing_to_compare_is_no_ratio_at_all():
    assert None is ratios(samples(2000), samples(0))


def test_thrift_is_how_much_more_cpu_the_other_needs():
    assert 3.0 == thrift(samples(10, 10), samples(10, 10, cpu=3.0))


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
def test_a_number_has_as_many_digits_as_one_reads(value):
    assert NUMBERS[value] == number(value)


def test_a_span_shows_its_extremes_unless_there_was_one_round():
    assert "100 (90-200)" == spread(Span(90, 100, 200))
    assert "100" == spread(Span(100, 100, 100))
    assert ("1.50 (1.00-2.00)", "1.50") == (times(Span(1, 1.5, 2)), times(Span(1.5, 1.5, 1.5)))


def test_bytes_are_shown_as_mib():
    assert "1,024.5 MiB" == mib(1024.5 * 2**20)


def test_a_table_is_markdown_with_its_numbers_to_the_right():
    assert [
        "| server | n/s |",
        "| ------ | --: |",
        "| a      |   1 |",
        "| b      |  22 |",
    ] == table(["server", "n/s"], [["a", "1"], ["b", "22"]]).splitlines()
