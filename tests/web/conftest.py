"""Fixtures: the resource tree on an in-memory store and an in-memory connection."""

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.logger import globalLogPublisher

from filestored.digest import algorithm
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.web.site import make_site
from tests.wire import Wire


@pytest.fixture
def make_wire():
    """A function that opens a connection to a new store: `backend` to keep bytes in, settings of `Store`."""

    def make(backend=None, algorithm=algorithm("sha256"), run=maybeDeferred, limits=None, **settings):  # noqa: B008  # a constant
        store = Store(backend or MemoryBackend(algorithm), algorithm, run, **settings)
        wire = Wire(make_site(store), limits)
        wire.store = store
        return wire

    return make


@pytest.fixture
def wire(make_wire):
    """A connection to an empty store."""
    return make_wire()


@pytest.fixture
def logged():
    """A function that returns the errors that the test has logged."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [event["log_failure"].value for event in events if "log_failure" in event]
    globalLogPublisher.removeObserver(events.append)
