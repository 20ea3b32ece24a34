"""Fixtures: clients of empty object stores."""

import pytest

from tests.storage.object_stores import ENGINES, IN_MEMORY, opened_client


@pytest.fixture(params=ENGINES)
def client(request):
    """A client of an empty prefix, in memory and on SeaweedFS."""
    with opened_client(request) as client:
        yield client


@pytest.fixture(params=[IN_MEMORY])
def memory(request):
    """A client of an empty prefix in memory, whose clock is that of this process."""
    with opened_client(request) as client:
        yield client


@pytest.fixture
def prepared(memory):
    """A client of an empty store in memory."""
    from filestored.storage.object_store import layout

    layout.prepare(memory, "sha256")
    return memory


@pytest.fixture
def requests(monkeypatch, prepared):
    """The requests of the client, which can be made to fail."""
    from tests.storage.object_store.engine import watched_requests

    with watched_requests(monkeypatch) as found:
        yield found
