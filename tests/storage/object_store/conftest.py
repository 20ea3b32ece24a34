"""A store in memory behind the client, prepared, and its requests."""

import pytest

from tests.storage.object_stores import memory_client


@pytest.fixture
def client():
    from filestored.storage.object_store import layout

    made = memory_client()
    layout.prepare(made, "sha256")
    yield made
    vars(made).clear()


@pytest.fixture
def requests(monkeypatch, client):
    from tests.storage.object_store.engine import watched_requests

    with watched_requests(monkeypatch) as found:
        yield found
