"""Idle buckets are closed; those of which a list is being sent are not."""

import pytest

from filestored.storage.buckets import IDLE_SECONDS
from filestored.storage.store import Store
from tests.access.wire.access_files import RIGHTS, Bucket, access_text
from tests.access.wire.in_memory import InMemorySite
from tests.http_clients.raw_socket import head

PAGE_FILES = 2
FILES = 5


@pytest.fixture
def site():
    """A site with the bucket ``one``, which stores more files than a page has."""
    site = InMemorySite(access_text(Bucket("one", RIGHTS)))
    for number in range(FILES):
        assert 200 == site("POST", "/buckets/one/", (), b"%d" % number).status
    return site


def test_idle_bucket_is_closed_and_opened_again(site):
    site.clock.advance(IDLE_SECONDS)
    site.buckets.close_idle()
    assert ["one"] == site.closed
    assert 200 == site("GET", "/buckets/one/files/").status
    assert ["one"] * 2 == site.opened


def test_bucket_of_an_unfinished_list_stays_open(site, monkeypatch):
    monkeypatch.setattr(Store, "max_listed_files", PAGE_FILES)
    site.client.transport.producer.pauseProducing()
    site.client.send(head("GET", "/buckets/one/files/", ["Accept: application/x-ndjson"]))
    site.clock.advance(IDLE_SECONDS)
    site.buckets.close_idle()
    assert [] == site.closed
    site.client.transport.producer.resumeProducing()
    (answer,) = site.client.answers("GET")
    assert FILES == len(answer.body.splitlines())
    site.buckets.close_idle()
    assert ["one"] == site.closed
