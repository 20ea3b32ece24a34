"""Answers of an object store that are lost while an image is added, replaced or deleted."""

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.errors import EngineError
from filestored.images.accounts import Accounts, read_key
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.gzip_backend import GzipBackend
from filestored.images.image_store import ImageStore
from filestored.storage.health import Health
from filestored.storage.store import Store
from tests.images.catalog_samples import PNG
from tests.storage.contract import outcome
from tests.storage.object_store.engine import watched_requests
from tests.storage.object_stores import memory_client
from tests.storage.recording_consumer import RecordingConsumer

pytestmark = pytest.mark.needs("obstore")


@pytest.fixture
def client():
    from filestored.storage.object_store import layout

    made = memory_client()
    layout.prepare(made, "images")
    layout.prepare(made.below("blobs"), UNIQUE_SHA256.name)
    yield made
    vars(made).clear()


@pytest.fixture
def requests(client, monkeypatch):
    with watched_requests(monkeypatch) as found:
        yield found


@pytest.fixture
def gallery(client, tmp_path):
    from filestored.storage.object_store.backend import ObjectBackend
    from filestored.storage.object_store.records import ObjectRecords
    from filestored.storage.object_store.spool import Spool

    records, health = ObjectRecords(client), Health(EngineError)
    read_key(records)
    backend = ObjectBackend(client.below("blobs"), UNIQUE_SHA256, Spool(str(tmp_path), reserve=0))
    blobs = Store(GzipBackend(backend), UNIQUE_SHA256, maybeDeferred, health=health)
    store = ImageStore(records, Accounts(records), blobs, maybeDeferred, health)
    token = outcome(store.register("anna"))
    return outcome(store.authenticate(token))


def upload(gallery, data, replacing=None):
    sent = outcome(gallery.upload(replacing))
    sent.begin("cat.png")
    sent.write(data)
    return outcome(sent.commit())


def content(gallery, identity):
    _, blob = outcome(gallery.open(identity, lambda image: False))
    consumer = RecordingConsumer()
    outcome(blob.produce(consumer, 0, blob.size))
    blob.close()
    return consumer.data


@pytest.mark.parametrize("applied", [False, True])
def test_image_is_replaced_in_spite_of_a_lost_answer(gallery, requests, applied):
    identity = upload(gallery, PNG)
    requests.fail("put", f"images/{identity}", applied=applied)
    assert identity == upload(gallery, PNG + b"2", identity)
    assert PNG + b"2" == content(gallery, identity)


def test_image_of_an_unknown_outcome_keeps_both_blobs(gallery, client, requests):
    identity = upload(gallery, PNG)
    key = f"accounts/anna/images/{identity}"

    def change_by_another_daemon():
        found, info = client.read(key)
        assert client.replace(key, found.replace(b"cat.png", b"dog.png"), info.version)

    requests.fail("put", f"images/{identity}", applied=True, then=change_by_another_daemon)
    assert isinstance(upload(gallery, PNG + b"2", identity), EngineError)
    assert 2 == len([each for each in client.objects("blobs") if each.key != "blobs/FORMAT"])


def test_image_that_was_added_without_an_answer_is_kept(gallery, client, requests):
    requests.fail("put", "names/cat.png", applied=True)
    identity = upload(gallery, PNG)
    assert PNG == content(gallery, identity)
    assert {"cat.png": identity} == outcome(gallery.list_images())


def test_image_is_deleted_in_spite_of_a_lost_answer(gallery, requests):
    identity = upload(gallery, PNG)
    requests.fail("put", f"images/{identity}", applied=True)
    assert outcome(gallery.delete(identity)) is None
    assert {} == outcome(gallery.list_images())
    assert upload(gallery, PNG) != identity
