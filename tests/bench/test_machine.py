"""Description of the machine."""

import pytest

from bench.machine import describe_load, load_warning


@pytest.mark.parametrize(("load", "cores"), [(0.0, 1), (0.5, 1), (0.9, 2), (1.0, 2), (3.9, 8)])
def test_low_load_has_no_warning(load, cores):
    assert f"The load was {load} on {cores} cores before it began." == describe_load(load, cores)


@pytest.mark.parametrize(("load", "cores"), [(0.6, 1), (1.1, 2), (2.0, 2), (4.1, 8)])
def test_high_load_has_a_warning(load, cores):
    sentence, _, advice = describe_load(load, cores).partition(", so the machine was busy: ")
    assert f"The load was {load} on {cores} cores before it began" == sentence
    assert advice.startswith("trust the CPU columns")


def test_load_warning_reads_this_machine():
    assert load_warning().startswith("The load was ")
