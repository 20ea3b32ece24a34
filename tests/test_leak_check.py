"""Leak check of the test suite: planted leaks are reported, each once, at the test that left it."""

import re

import pytest

from tests.planted_tests import run_planted

PLANTED = """
import os
from twisted.internet import protocol, reactor, task


from tests import leak_check

leak_check.MAX_CLOSING_SECONDS = 0.2
LEFT = []

def test_descriptor():
    LEFT.append(os.open(__file__, os.O_RDONLY))

def test_listening_port():
    LEFT.append(reactor.listenTCP(0, protocol.Factory(), interface="127.0.0.1"))

def test_delayed_call():
    reactor.callLater(600, print)

def test_delayed_call_that_repeats():
    LEFT.append(task.LoopingCall(int))
    LEFT[-1].start(0.001)

def test_second_delayed_call_of_the_same_function():
    reactor.callLater(600, print)

def test_closed_in_the_next_turn():
    port = reactor.listenTCP(0, protocol.Factory(), interface="127.0.0.1")
    reactor.callLater(0.005, port.stopListening)

def test_nothing():
    pass
"""


@pytest.mark.slow
def test_each_planted_leak_is_reported_once_at_the_test_that_left_it(tmp_path):
    output = run_planted(tmp_path, PLANTED)
    reported = re.findall(r"^_+ ERROR at teardown of (\w+) _+\nleft open: (\w+)", output, re.MULTILINE)
    assert [
        ("test_descriptor", "descriptor"),
        ("test_listening_port", "descriptor"),
        ("test_delayed_call", "delayed"),
        ("test_delayed_call_that_repeats", "delayed"),
        ("test_second_delayed_call_of_the_same_function", "delayed"),
    ] == reported, output
    assert "7 passed, 5 errors" in output
