"""Upper bounds on the modules entered and the calls made by one request, so that no detour creeps in.

Counted by `bench.calls`, without times; steady state on a kept-alive connection, with the access log on.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAX_MODULES = {"post": 31}
MAX_CALLS = {"post": 125, "get-cached": 26, "get-heads-differ": 29}


@pytest.fixture(scope="module")
def figures():
    """Modules and calls of each kind of request."""
    command = [sys.executable, "-m", "bench.calls", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", MAX_MODULES)
@pytest.mark.slow
def test_request_enters_few_modules(figures, kind):
    assert figures[kind]["modules"] <= MAX_MODULES[kind]


@pytest.mark.parametrize("kind", MAX_CALLS)
def test_request_makes_few_calls(figures, kind):
    assert figures[kind]["calls"] <= MAX_CALLS[kind]


def test_counts_of_all_kinds_of_requests_are_recorded(figures):
    kinds = {"post", "get-cached", "get-heads-differ", "get-uncached"}
    assert kinds == {kind for kind in figures if figures[kind]["calls"] > 10}


def test_cached_get_makes_fewer_calls_than_an_uncached_one(figures):
    assert figures["get-cached"]["calls"] < figures["get-uncached"]["calls"]
