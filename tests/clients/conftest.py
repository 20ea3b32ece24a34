"""One real daemon per module; each test finds it empty."""

import glob
import os
from collections.abc import Iterator

import pytest

from tests.daemon_process import Running, start


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    started: list[Running] = []
    yield start(str(tmp_path_factory.mktemp("daemon")), started, "--workers", "1")
    for running in started:
        running.end()


@pytest.fixture
def daemon(shared: Running) -> Running:
    """The daemon, with nothing stored."""
    for path in glob.glob(os.path.join(shared.store, "??", "*")):
        os.unlink(path)
    return shared
