"""Layout of an object store: FORMAT in an empty prefix only; services that ignore conditions are refused."""

import json
import threading

import pytest

from filestored.errors import UnusableStore


def prepare(client, contents="sha256"):
    from filestored.storage.object_store.layout import prepare

    return prepare(client, contents)


def probe(client):
    from filestored.storage.object_store.layout import probe

    probe(client)


def keys(client):
    return [each.key for each in client.objects()]


def test_format_of_an_empty_prefix_is_created_once(client):
    first = prepare(client)
    assert ("sha256", first) == (first.hash, prepare(client, "md5"))
    assert ["FORMAT"] == keys(client)
    assert {"format", "hash", "id"} == set(json.loads(client.read_format()))


def test_many_processes_prepare_one_store(client):
    found = []
    threads = [threading.Thread(target=lambda: found.append(prepare(client).id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (8, 1) == (len(found), len(set(found)))


def test_prefix_with_other_objects_is_left_alone(client):
    client.put("report.pdf", b"x")
    with pytest.raises(UnusableStore, match=r"such as report\.pdf, but no FORMAT; name another prefix"):
        prepare(client)
    assert ["report.pdf"] == keys(client)


def test_format_that_another_process_creates_meanwhile_is_taken(client, monkeypatch):
    objects = client.objects

    def create_first():
        monkeypatch.setattr(client, "objects", objects)
        prepare(client, "md5")
        return objects()

    monkeypatch.setattr(client, "objects", create_first)
    assert "md5" == prepare(client).hash


def test_prefixes_that_begin_alike_are_stores_of_their_own(client):
    prepare(client.below("a"))
    prepare(client.below("ab"))
    assert ["FORMAT"] == keys(client.below("a")) == keys(client.below("ab"))
    with pytest.raises(UnusableStore, match="a/FORMAT"):
        prepare(client)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "FORMAT file cannot be read"),
        (b"", "FORMAT file cannot be read"),
        (b'{"format": 9, "hash": "md5", "id": "x"}', "install a newer one"),
        (b'{"format": 2, "hash": "md5", "id": "x", "moving_to": "sha256"}', "migration is unfinished"),
        (b'{"format": 2, "hash": "sha256", "id": "x", "aliases": ["md5"]}', "only a directory supports"),
    ],
)
def test_format_that_a_bucket_cannot_have_is_refused(client, text, reason):
    client.put("FORMAT", text)
    with pytest.raises(UnusableStore, match=reason):
        prepare(client)
    assert text == client.read_format()


def test_probe_leaves_nothing(client):
    prepare(client)
    probe(client)
    assert ["FORMAT"] == keys(client)


def test_service_that_ignores_if_none_match_is_refused(client, monkeypatch):
    prepare(client)
    monkeypatch.setattr(client, "create", lambda key, data: client.put(key, data) or True)
    with pytest.raises(UnusableStore, match=r"ignores If-None-Match: \* .*use one with conditional writes"):
        probe(client)
    assert ["FORMAT"] == keys(client)


def test_service_that_ignores_if_match_is_refused(client, monkeypatch):
    prepare(client)
    monkeypatch.setattr(client, "replace", lambda key, data, version: client.put(key, data) or True)
    with pytest.raises(UnusableStore, match=r"ignores If-Match .*use one with conditional writes"):
        probe(client)


def test_service_that_never_replaces_is_refused(client, monkeypatch):
    prepare(client)
    monkeypatch.setattr(client, "replace", lambda key, data, version: False)
    with pytest.raises(UnusableStore, match="refuses a PUT with If-Match that should succeed"):
        probe(client)
