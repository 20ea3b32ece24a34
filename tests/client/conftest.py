"""Fixtures of the tests of the client."""

import pytest

from filestored.cli import main


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """A working directory of the test, no variables of a user, and short delays of repetitions."""
    monkeypatch.chdir(tmp_path)
    for name in ("FILESTORED_SERVER", "FILESTORED_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("filestored.client.server.DELAYS", (0.01, 0.01, 0.01, 0.01))
    return monkeypatch


@pytest.fixture
def server(environment, shared_daemon):
    """The daemon of the module, named by the environment."""
    environment.setenv("FILESTORED_SERVER", shared_daemon.url)
    return shared_daemon


@pytest.fixture
def run(capfd):
    """Run a command in this process; return its exit status, stdout and stderr."""

    def run_command(*words):
        status = main([str(word) for word in words])
        return status, *capfd.readouterr()

    return run_command
