"""Fixtures: one real daemon per module, for requests over raw sockets."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from tests.daemon.running import Running, start
from tests.wire_contract.raw import RAW, ask

MAX_SIZE = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A daemon with one process that takes files of at most 1 MiB."""
    started: list[Running] = []
    directory = str(tmp_path_factory.mktemp("daemon"))
    hosts = ("x", "h", "a-b.example", "x_y")
    yield start(directory, started, "--workers", "1", "--max-size", str(MAX_SIZE), hosts=hosts)
    for running in started:
        running.end()


@pytest.fixture(scope="module")
def port(server: Running) -> int:
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
def files(server: Running) -> Callable[[], set[str]]:
    """The names of all files in the store, whole or not."""
    return lambda: {name for _, _, names in os.walk(server.store) for name in names} - {"FORMAT"}
