"""One real daemon per module; each test finds it empty."""

import pytest

from tests.daemon_process import Running


@pytest.fixture
def daemon(empty_daemon: Running) -> Running:
    return empty_daemon
