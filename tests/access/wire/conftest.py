"""Fixtures: a site in memory, and a daemon, with the access file of a whole module.

Tests with ``ask`` run with both, those that also use the daemon itself with the daemon only.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.access.wire.access_files import write_access
from tests.access.wire.clients import access_path
from tests.access.wire.in_memory import InMemorySite
from tests.access.wire.kept_connection import KeptConnection
from tests.access.wire.matrix import Ask
from tests.daemon_process import Running, start

StartWithAccess = Callable[..., Running]

MEMORY, DAEMON = "memory", "daemon"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests with ``ask`` in memory and with a daemon."""
    if "ask" in metafunc.fixturenames:
        needs_daemon = "served" in metafunc.fixturenames or hasattr(metafunc.module, "DAEMON_ONLY")
        metafunc.parametrize("ask", [DAEMON] if needs_daemon else [MEMORY, DAEMON], indirect=True)


@pytest.fixture(scope="module")
def start_with_access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartWithAccess]:
    """A function that starts a daemon with the text of an access file and further options."""
    started: list[Running] = []

    def start_one(text: str, *options: str, **more: object) -> Running:
        directory = str(tmp_path_factory.mktemp("daemon"))
        path = write_access(access_path(directory), text)
        return start(directory, started, "--access", path, *options, **more)

    yield start_one
    for running in started:
        running.end()


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest, start_with_access: StartWithAccess) -> Running:
    """A daemon with one process, and the `ACCESS` and the `OPTIONS` of the module."""
    module = request.module
    options = getattr(module, "OPTIONS", ())
    return start_with_access(module.ACCESS, "--workers", "1", "--access-log", "-", *options)


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> InMemorySite:
    """A site in memory with the `ACCESS` of the module."""
    return InMemorySite(request.module.ACCESS)


@pytest.fixture
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    """A connection to the site or to the daemon, which sends a request and returns the response."""
    if request.param == MEMORY:
        yield request.getfixturevalue("site")
        return
    with KeptConnection(request.getfixturevalue("served").port) as connection:
        yield connection
