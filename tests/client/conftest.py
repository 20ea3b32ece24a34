"""Fixtures of the tests of the client."""

import pytest

from filestored.cli import main
from tests.daemon_process import start


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """A working directory of the test, no variables of a user, and short delays of repetitions."""
    monkeypatch.chdir(tmp_path)
    for name in ("FILESTORED_SERVER", "FILESTORED_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("filestored.client.server.DELAYS", (0.01, 0.01, 0.01, 0.01))
    return monkeypatch


@pytest.fixture(scope="session")
def client_daemon(tmp_path_factory):
    """A daemon for all tests of the client, which may leave files in it."""
    started = []
    yield start(str(tmp_path_factory.mktemp("daemon")), started, "--workers", "1")
    for running in started:
        running.end()


@pytest.fixture
def server(environment, client_daemon):
    """The daemon of all tests, named by the environment."""
    environment.setenv("FILESTORED_SERVER", client_daemon.url)
    return client_daemon


@pytest.fixture
def run(capfd):
    """Run a command in this process; return its exit status, stdout and stderr."""

    def run_command(*words):
        status = main([str(word) for word in words])
        return status, *capfd.readouterr()

    return run_command
