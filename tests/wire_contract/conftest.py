"""Fixtures: one real server per module, for requests over raw sockets.

Tests choose servers by a mark: ``pytest.mark.servers(*ALL_SERVERS)``; without one these are `ONE_DAEMON`.
"""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from tests.balanced_daemons import Balanced
from tests.daemon_process import Running
from tests.http_clients.raw_socket import RAW, ask
from tests.wire_contract.servers import ONE_DAEMON, Served, serve

MAX_SIZE = 1 << 20


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests that use ``served`` once for each server of the closest mark."""
    if "served" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("servers")
        metafunc.parametrize("served", mark.args if mark else ONE_DAEMON, indirect=True, scope="module")


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that takes files of at most 1 MiB, and what it stores."""
    directory = str(tmp_path_factory.mktemp("daemon"))
    hosts = ("x", "h", "a-b.example", "x_y")
    with serve(request, request.param, directory, "--max-size", str(MAX_SIZE), hosts=hosts) as served:
        yield served


@pytest.fixture(scope="module")
def server(served: Served) -> Running | Balanced:
    return served.server


@pytest.fixture(scope="module")
def port(server: Running | Balanced) -> int:
    return server.port


@pytest.fixture(scope="module")
def fresh() -> Callable[[], bytes]:
    """Makes content that no other test has."""
    numbers = itertools.count()
    return lambda: f"content {next(numbers)} {os.urandom(8).hex()}".encode()


@pytest.fixture
def stored(port: int, fresh: Callable[[], bytes]) -> tuple[str, bytes]:
    """The hash and the bytes of a file that is stored."""
    content = fresh()
    answer = ask(port, "POST", "/", RAW, body=content)
    assert (200, hashlib.sha256(content).hexdigest()) == (answer.status, answer.body.decode())
    return answer.body.decode(), content


@pytest.fixture
def files(served: Served) -> Callable[[], set[str]]:
    """The names of all files in the store, whole or not."""
    return lambda: served.names() - {"FORMAT"}
