"""Main of a worker process, driven over its pipes."""

import json
import subprocess
import sys

import pytest

from filestored.daemon.worker_process import child_environment
from filestored.images import directory as image_directory
from filestored.settings import LogSettings, Settings
from filestored.storage.disk import layout
from tests.daemon_process import TIMEOUT


@pytest.fixture
def configuration(tmp_path) -> bytes:
    """The first line of a supervisor, for a worker without sockets."""
    store, images = (str(tmp_path / name) for name in ("store", "images"))
    layout.prepare(store, "sha256")
    image_directory.prepare(images)
    settings = Settings((), store, images, "sha256", 1 << 20, 2, 1.0, "", LogSettings())
    fields = {"settings": settings.to_json(), "access": None, "listening": [], "suspensions": []}
    return json.dumps({**fields, "reactor": "twisted.internet.epollreactor"}).encode() + b"\n"


def test_command_that_arrives_with_the_configuration_is_executed(configuration):
    worker = subprocess.run(
        [sys.executable, "-P", "-m", "filestored.worker"],
        input=configuration + b"ping\n",
        stdout=subprocess.PIPE,
        env=child_environment(),
        timeout=TIMEOUT,
        check=True,
    )
    assert b'"alive"' in worker.stdout.splitlines()
