"""Timeouts of the test suite: a test that waits for the reactor fails, and the next ones pass."""

import re

import pytest

from tests.planted_tests import run_planted

PLANTED = """
import time

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

pytestmark = pytest.mark.timeout(1)
LATE = Deferred()

async def turn():
    passed = Deferred()
    reactor.callLater(0.01, passed.callback, None)
    await passed

@pytest_twisted.ensureDeferred
async def test_result_that_never_comes():
    await LATE

@pytest_twisted.ensureDeferred
async def test_next_is_not_mixed_up_by_a_late_result():
    LATE.callback("late")
    await turn()

@pytest_twisted.ensureDeferred
async def test_coroutine_that_blocks_the_reactor():
    time.sleep(90)

@pytest_twisted.ensureDeferred
async def test_delayed_call_that_blocks_the_reactor():
    reactor.callLater(0, time.sleep, 90)
    await Deferred()

def test_without_reactor():
    time.sleep(90)

@pytest_twisted.ensureDeferred
async def test_last():
    await turn()
"""


@pytest.mark.slow
def test_each_planted_test_that_hangs_fails_by_its_timeout_and_the_others_pass(tmp_path):
    output = run_planted(tmp_path, PLANTED)
    failed = re.findall(r"^FAILED \S+::(\w+) - (Failed: Timeout)", output, re.MULTILINE)
    assert [
        ("test_result_that_never_comes", "Failed: Timeout"),
        ("test_coroutine_that_blocks_the_reactor", "Failed: Timeout"),
        ("test_delayed_call_that_blocks_the_reactor", "Failed: Timeout"),
        ("test_without_reactor", "Failed: Timeout"),
    ] == failed, output
    assert "4 failed, 2 passed" in output


PLANTED_STOP = """
import pytest
from twisted.internet import reactor

def test_that_stops_the_reactor():
    reactor.callFromThread(reactor.stop)

@pytest.mark.parametrize("number", range(20))
def test_while_it_stops(number):
    pass

def test_last():
    raise AssertionError("this runs without a reactor")
"""


@pytest.mark.slow
def test_a_stopped_reactor_ends_the_run(tmp_path):
    output = run_planted(tmp_path, PLANTED_STOP)
    assert "this test, or one before it, stopped the reactor" in output
    assert "test_last" not in output
