"""Fixtures of a store to migrate."""

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare
from filestored.storage.migration import migrate as migration
from filestored.storage.store import Store
from tests.storage.migration.interrupted import CONTENTS, CORRUPT
from tests.storage.migration.migrating import UNFLUSHED, fill, spoil


@pytest.fixture
def open_store(place):
    """Return a function that opens the store at `place` as the daemon does."""
    opened = []

    def open_it() -> Store:
        own = prepare(place, calls=UNFLUSHED)
        opened.append(DiskBackend(place, own, UNFLUSHED, reserve=0))
        return Store(opened[-1], own, maybeDeferred)

    yield open_it
    for disk in opened:
        disk.close()


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(migration, "BATCH_FILES", 2)


@pytest.fixture
def filled(place):
    """A store with one corrupt file."""
    fill(place, CONTENTS)
    spoil(place, CORRUPT)
    return place
