"""What every test shares: a look for leftovers, tools that a test needs, a real daemon.

pytest-twisted runs each test through the reactor, and does not mind what a test leaves in it.
We do: a delayed call, a reader, a listening port or a descriptor that a test leaves behind is a
leak that the daemon would have as well, and fails the test.
"""

import gc
import os
import shutil
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.daemon.running import Running, start

PACKAGES = {
    "aria2c": "aria2",
    "http": "httpie, from PyPI",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
}
"""The package that brings a tool, where it has another name."""

SETTLING = 2.0
"""For how many seconds what a test has closed may take to go away."""

_reactor: Any = reactor  # a module, as far as types go

_deselected = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(tool): the test runs this tool, which is not a Python package")
    config.stash[_deselected] = {}


# --- tools -----------------------------------------------------------------------------------


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where a tool is missing its tests fail in CI, and elsewhere are put aside, visibly."""
    if os.environ.get("CI") == "true":
        return
    absent = [item for item in items if _missing(item)]
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in absent]
    for item in absent:
        for tool in _missing(item):
            config.stash[_deselected][tool] = config.stash[_deselected].get(tool, 0) + 1


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = _missing(item)
    if missing:
        pytest.fail(f"this test needs {', '.join(map(_advice, missing))}", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for tool, count in sorted(config.stash[_deselected].items()):
        terminalreporter.write_line(f"not run: {count} tests that need {_advice(tool)}", yellow=True)


def _missing(item: pytest.Item) -> list[str]:
    tools = [tool for marker in item.iter_markers("needs") for tool in marker.args]
    return [tool for tool in tools if find_tool(tool) is None]


def find_tool(name: str) -> str | None:
    """Where a tool is, also when it came into the virtual environment the tests run in."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)])
    return shutil.which(name, path=path)


def _advice(tool: str) -> str:
    return f"{tool} (install: {PACKAGES.get(tool, tool)})"


# --- leftovers -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a delayed call, a reader, a writer, a port or a descriptor behind."""
    pytest_twisted.blockon(_turn())  # the first turn of a reactor opens descriptors of its own
    before = _held()
    yield
    deadline = time.monotonic() + SETTLING
    while (left := _held() - before) and time.monotonic() < deadline:
        pytest_twisted.blockon(_turn())
        gc.collect()  # a traceback in a cycle may hold a socket
    if left:
        pytest.fail(f"left behind: {', '.join(sorted(left))}", pytrace=False)


def _turn() -> "Deferred[None]":
    """One turn of the reactor."""
    passed: Deferred[None] = Deferred()
    _reactor.callLater(0.01, passed.callback, None)
    return passed


def _held() -> set[str]:
    calls = {f"delayed call {id(call)} of {call.func}" for call in _reactor.getDelayedCalls()}
    internal = _reactor._internalReaders  # its own wakers
    readers = {f"reader {reader}" for reader in _reactor.getReaders() if reader not in internal}
    writers = {f"writer {writer}" for writer in _reactor.getWriters()}
    return calls | readers | writers | _descriptors()


def _descriptors() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # the one that listed the directory
        if target != "/dev/null":  # Twisted keeps one in reserve, from the first port on
            found.add(f"descriptor {number} of {target}")
    return found


# --- a real daemon ---------------------------------------------------------------------------


@pytest.fixture
def start_daemon(tmp_path: os.PathLike[str]) -> Iterator[partial[Running]]:
    """A function that starts a real twistd: ``start_daemon("--workers", "2")``.

    See `tests.daemon.running.start` for what it takes. Each listens on a free loopback port, keeps its
    files below ``tmp_path``, and has been ended when the test is over.
    """
    started: list[Running] = []
    yield partial(start, str(tmp_path), started)
    for running in started:
        running.end()


@pytest.fixture
def daemon(start_daemon: partial[Running]) -> Running:
    """A daemon with one process, ready."""
    return start_daemon("--workers", "1")
