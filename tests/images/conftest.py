"""Fixtures: an image directory and its blobs on disk; servers of images, on a disk and on an object store."""

import itertools
from contextlib import ExitStack

import pytest

from filestored.images.blob_ids import UNIQUE_SHA256, find_algorithm
from filestored.storage.disk import layout
from filestored.storage.disk.backend import DiskBackend
from tests.balanced_daemons import BALANCED, balanced_daemons

NUMBERS = itertools.count(1)
"""Numbers of the directories of balanced daemons."""


@pytest.fixture
def place(tmp_path_factory):
    """A path in a new directory; it does not exist yet."""
    return str(tmp_path_factory.mktemp("home") / "images")


@pytest.fixture
def open_disk(place):
    """A function that opens a store of blobs at `place`."""
    opened = []

    def open_it():
        layout.prepare(place, UNIQUE_SHA256.name, lookup=find_algorithm)
        opened.append(DiskBackend(place, UNIQUE_SHA256))
        return opened[-1]

    yield open_it
    for backend in opened:
        backend.close()


@pytest.fixture(params=["disk", BALANCED])
def start_server(request, start_daemon, tmp_path):
    """A function that starts a daemon on a disk, or two on one object store behind a balancer.

    A server that is started again has the files of the one before.
    """
    if request.param == "disk":
        yield lambda *options: start_daemon("--workers", "2", *options)
        return
    prefix = request.getfixturevalue("prefix")
    with ExitStack() as running:
        yield lambda *options: running.enter_context(
            balanced_daemons(prefix, str(tmp_path / f"{next(NUMBERS)}"), "--workers", "1", *options)
        )


@pytest.fixture
def server(start_server):
    """A server of images."""
    return start_server()
