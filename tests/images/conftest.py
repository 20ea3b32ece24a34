"""Fixtures: an image directory and its blobs on disk."""

import pytest

from filestored.images.blob_ids import UNIQUE_SHA256, find_algorithm
from filestored.storage.disk import layout
from filestored.storage.disk.backend import DiskBackend


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
