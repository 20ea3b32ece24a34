"""Fixtures: a daemon with an access file for a whole module, and the file's path."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.access.wire.access_files import write_access
from tests.access.wire.kept_connection import KeptConnection
from tests.daemon_process import Running, start

StartWithAccess = Callable[..., Running]


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


def access_path(directory: str) -> str:
    """Return the path of the access file of a daemon in this directory."""
    return os.path.join(directory, "rules.toml")


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest, start_with_access: StartWithAccess) -> Running:
    """A daemon with one process, and the `ACCESS` and the `OPTIONS` of the module."""
    module = request.module
    options = getattr(module, "OPTIONS", ())
    return start_with_access(module.ACCESS, "--workers", "1", "--access-log", "-", *options)


@pytest.fixture
def ask(served: Running) -> Iterator[KeptConnection]:
    """A kept connection to it."""
    with KeptConnection(served.port) as connection:
        yield connection
