"""Hooks and fixtures of all tests: workers, slow tests, required tools, leak check, a real daemon."""

import glob
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import pytest

from filestored import account_admin
from tests import reactor_timeouts
from tests.daemon_process import Running, start
from tests.inherited_signals import restore_signals
from tests.leak_check import left_since, open_resources, run_obstore, run_reactor
from tests.seaweedfs import Prefix, SeaweedFS
from tests.tools import advice, find_tool

SLOW_FIXTURES = {"start_daemon", "script", "start_on", "open_page"}
"""Fixtures that start a daemon for one test, or a browser, which takes a second or more."""

MEMORY_DIRECTORY = "/dev/shm"
MIN_MEMORY_BYTES = 4 << 30
"""Free space of the memory file system from which on tests keep their files there."""

_deselected = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_deselected] = {}
    restore_signals()
    reactor_timeouts.install()
    if _is_usable(MEMORY_DIRECTORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY_DIRECTORY)


def _is_usable(directory: str) -> bool:
    """Return whether temporary files of tests fit, and scripts among them can be run."""
    try:
        found = os.statvfs(directory)
    except FileNotFoundError:
        return False
    roomy = found.f_bavail * found.f_frsize >= MIN_MEMORY_BYTES
    return roomy and not found.f_flag & os.ST_NOEXEC and os.access(directory, os.W_OK)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run a named file or test in this process, else half as many workers again as processors.

    Tests of daemons wait for two thirds of their time.
    """
    named = any(".py" in argument for argument in config.args)
    return 0 if named else (os.cpu_count() or 1) * 3 // 2


# --- timeouts --------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_timeout_set_timer() -> Iterator[None]:
    """Let the timeout also end a wait for the reactor."""
    result = yield
    handler = signal.getsignal(signal.SIGALRM)
    if callable(handler):
        signal.signal(signal.SIGALRM, partial(reactor_timeouts.expire, handler))
    return result


# --- tools -----------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark slow tests, and deselect those whose tools are missing."""
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    _deselect_absent(config, items)


def _deselect_absent(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests whose tool is missing, and note how many; with ``CI=true`` they stay, and fail."""
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
        pytest.fail(f"this test needs {', '.join(map(advice, missing))}", pytrace=False)
    if "obstore" in _needed(item):
        run_obstore()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Report the deselected tests of a parallel worker to the process that prints the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deselected"] = session.config.stash[_deselected]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Read the report; every worker deselects the same tests."""
    node.config.stash[_deselected].update(getattr(node, "workeroutput", {}).get("deselected", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for tool, count in sorted(config.stash[_deselected].items()):
        terminalreporter.write_line(f"not run: {count} tests that need {advice(tool)}", yellow=True)


def _missing(item: pytest.Item) -> list[str]:
    return [tool for tool in _needed(item) if find_tool(tool) is None]


def _needed(item: pytest.Item) -> list[str]:
    return [tool for marker in item.iter_markers("needs") for tool in marker.args]


# --- leak check ------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _reactor_started(twisted_greenlet: object) -> None:
    """Run the reactor once: its first turn opens descriptors of its own."""
    run_reactor()


@pytest.fixture(autouse=True)
def no_leaks(twisted_greenlet: Any) -> Iterator[None]:
    """Fail a test that leaves a delayed call, a reader, a writer, a port or a descriptor open.

    Later tests begin with what it left, so that a leak is reported once. A test that stops the reactor
    ends the run, because no later test could pass.
    """
    before = open_resources()
    yield
    if twisted_greenlet.dead:
        pytest.exit("this test, or one before it, stopped the reactor")
    if left := left_since(before):
        pytest.fail(f"left open: {', '.join(left)}", pytrace=False)


# --- a real daemon ---------------------------------------------------------------------------


@pytest.fixture
def start_daemon(tmp_path: os.PathLike[str]) -> Iterator[partial[Running]]:
    """A function that starts a real twistd: ``start_daemon("--workers", "2")``.

    See `tests.daemon_process.start` for what it takes. Each listens on a free loopback port, keeps its
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


@pytest.fixture(scope="module")
def share_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """A function like `start_daemon` for all tests of a module: equal words return the same daemon."""
    started: list[Running] = []

    @cache
    def start_once(*options: str, **more: Any) -> Running:
        return start(str(tmp_path_factory.mktemp("daemon")), started, *options, **more)

    yield start_once
    for running in started:
        running.end()


@pytest.fixture(scope="module")
def shared_daemon(share_daemon: Callable[..., Running]) -> Running:
    """A daemon with one process, for all tests of a module."""
    return share_daemon("--workers", "1")


@pytest.fixture
def empty_daemon(shared_daemon: Running) -> Running:
    """The daemon of the module, without files and accounts."""
    for path in glob.glob(os.path.join(shared_daemon.store, "??", "*")):
        os.unlink(path)
    images = os.path.join(shared_daemon.directory, "images")
    for name in account_admin.names(images):
        account_admin.delete(images, name)
    return shared_daemon


# --- a real object store ---------------------------------------------------------------------


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A SeaweedFS for all tests of this process, started for the first that asks; none may stop it."""
    directory = str(tmp_path_factory.mktemp("seaweedfs"))
    with SeaweedFS(directory) as server:
        yield server
    shutil.rmtree(directory)


@pytest.fixture
def prefix(seaweedfs: SeaweedFS) -> Prefix:
    """A prefix of the bucket of SeaweedFS, without objects."""
    return seaweedfs.make_prefix()
