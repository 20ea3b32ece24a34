"""Description of the machine."""

import pytest

from bench.machine import business, told


@pytest.mark.parametrize(("load", "cores"), [(0.0, 1), (0.5, 1), (0.9, 2), (1.0, 2), (3.9, 8)])
def test_a_machine_with_cores_to_spare_is_not_called_busy(load, cores):
    assert f"The load was {load} on {cores} cores before it began." == told(load, cores)


@pytest.mark.parametrize(("load", "cores"), [(0.6, 1), (1.1, 2), (2.0, 2), (4.1, 8)])
def test_a_busy_one_is_and_what_can_be_trusted_then(load, cores):
    sentence, _, advice = told(load, cores).partition(", so the machine was busy: ")
    assert f"The load was {load} on {cores} cores before it began" == sentence
    assert advice.startswith("trust the CPU columns")


def test_this_one_has_a_load():
    assert business().startswith("The load was ")
