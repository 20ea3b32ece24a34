"""Layout of an object store, and the probe of conditional writes."""

import pytest

from filestored.errors import UnusableStore
from filestored.storage.disk.format_file import StoreFormat
from tests.storage.object_stores import memory_client

pytestmark = pytest.mark.needs("obstore")


@pytest.fixture
def empty():
    made = memory_client()
    yield made
    vars(made).clear()


def prepare(client, contents="sha256"):
    from filestored.storage.object_store import layout

    return layout.prepare(client, contents)


def test_format_is_created_once(empty):
    first = prepare(empty)
    assert first == prepare(empty, "md5")
    assert "sha256" == first.hash


def test_format_that_another_daemon_creates_meanwhile_is_taken(empty, monkeypatch):
    objects = empty.objects

    def create_first():
        monkeypatch.setattr(empty, "objects", objects)
        prepare(empty, "md5")
        return objects()

    monkeypatch.setattr(empty, "objects", create_first)
    assert "md5" == prepare(empty).hash


def test_prefix_with_other_objects_is_left_alone(empty):
    empty.put("photo.jpg", b"x")
    with pytest.raises(UnusableStore, match=r"photo\.jpg"):
        prepare(empty)
    assert ["photo.jpg"] == [each.key for each in empty.objects()]


@pytest.mark.parametrize(
    "record",
    [StoreFormat("sha256", "1", aliases=("md5",)), StoreFormat("md5", "1", moving_to="sha256")],
)
def test_migrated_store_is_refused(empty, record):
    empty.put("FORMAT", record.to_json())
    with pytest.raises(UnusableStore, match="directory"):
        prepare(empty)


@pytest.mark.parametrize("text", [b"", b"{}", b"nonsense", b'{"format": 9, "hash": "md5", "id": "1"}'])
def test_damaged_format_is_refused(empty, text):
    empty.put("FORMAT", text)
    with pytest.raises(UnusableStore):
        prepare(empty)


def test_probe_leaves_nothing(client):
    from filestored.storage.object_store import layout

    layout.probe(client)
    assert ["FORMAT"] == [each.key for each in client.objects()]


@pytest.mark.parametrize(
    ("ignored", "named"), [("create", "If-None-Match"), ("update", "If-Match"), ("both", "If-None-Match")]
)
def test_service_that_ignores_a_condition_is_refused(client, monkeypatch, ignored, named):
    import obstore

    from filestored.storage.object_store import client as client_module
    from filestored.storage.object_store import layout

    class Ignoring:
        def __getattr__(self, name):
            return getattr(obstore, name)

        def put(self, *args, mode, **kwargs):
            kind = "create" if mode == "create" else "update" if isinstance(mode, dict) else mode
            return obstore.put(*args, mode="overwrite" if ignored in (kind, "both") else mode, **kwargs)

    monkeypatch.setattr(client_module, "obstore", Ignoring())
    with pytest.raises(UnusableStore, match=named):
        layout.probe(client)
