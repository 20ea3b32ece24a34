"""A renewed token ends the changes begun with the old one: none is made after the renewal's answer."""

import http.client
import json
import os
import re
import threading

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.errors import UnknownToken
from filestored.images.accounts import Accounts
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.gallery import Gallery
from filestored.images.image_store import ImageStore
from filestored.storage.disk.records import DiskRecords, prepare
from filestored.storage.health import Health
from filestored.storage.memory import MemoryBackend, MemoryRecords
from filestored.storage.store import Store
from tests.daemon_process import until
from tests.images.concurrent_client import PNG
from tests.images.image_client import Client
from tests.images.image_fixture import done
from tests.images.interleaved_changes import image
from tests.storage.object_stores import ENGINES, open_object_records, opened_client

KEY = b"k" * 32


class Watched:
    """Records that call `between` once, as the first change below ``images/`` or ``names/`` is made."""

    def __init__(self, records):
        self._records = records
        self.between = None

    def __getattr__(self, verb):
        function = getattr(self._records, verb)

        def call(name, *args):
            if re.search("/(images|names)/", name) and verb in ("create", "replace", "remove"):
                between, self.between = self.between, None
                if between:
                    between()
            return function(name, *args)

        return call


@pytest.fixture(params=["memory", "disk", *ENGINES])
def records(request, place):
    if request.param == "memory":
        yield Watched(MemoryRecords())
        return
    if request.param != "disk":
        with opened_client(request) as client:
            yield Watched(open_object_records(client))
        return
    prepare(place, "images")
    records = DiskRecords(place)
    yield Watched(records)
    records.close()


CHANGES = {
    "upload": lambda gallery, identity: gallery._write_record(image("dog.png", b"dog"), None),
    "update": lambda gallery, identity: gallery._write_record(image("cat.png", b"dog"), identity),
    "update with a new name": lambda gallery, identity: gallery._write_record(
        image("dog.png", b"dog"), identity
    ),
    "delete": lambda gallery, identity: gallery._remove(identity),
}


@pytest.fixture
def anna(records):
    """An account with an image: its accounts, the open account, a gallery, and the image's id."""
    room = ImageStore(
        records,
        Accounts(records, KEY),
        Store(MemoryBackend(UNIQUE_SHA256), UNIQUE_SHA256, maybeDeferred),
        maybeDeferred,
        Health(),
    )
    gallery = done(room.authenticate(done(room.register("anna"))))
    assert isinstance(gallery, Gallery)
    identity, _ = gallery._write_record(image(), None)
    return Accounts(records, KEY), gallery._account, gallery, identity


@pytest.mark.parametrize("change", CHANGES)
def test_renewal_waits_for_a_change_in_progress(records, anna, change):
    accounts, account, gallery, identity = anna
    order = []

    def renew():
        accounts.renew(account)
        order.append("renewed")

    renewal = threading.Thread(target=renew)

    def between():
        renewal.start()
        renewal.join(0.2)
        order.append("changing")

    records.between = between
    CHANGES[change](gallery, identity)
    renewal.join()
    assert ["changing", "renewed"] == order


@pytest.mark.parametrize("records", ENGINES, indirect=True)
@pytest.mark.parametrize("change", CHANGES)
def test_change_fails_at_once_while_a_renewal_waits_on_an_object_store(records, anna, change):
    """The renewal is written first, and then waits for another change."""
    accounts, account, gallery, identity = anna
    name = "accounts/anna/account"
    old = records.read(name)
    renewal = threading.Thread(target=accounts.renew, args=(account,), daemon=True)
    with accounts.holding(account):
        renewal.start()
        until(lambda: records.read(name) != old, "the renewal is written")
        with pytest.raises(UnknownToken):
            CHANGES[change](gallery, identity)
        assert renewal.is_alive()
    renewal.join()
    assert {"cat.png": identity} == done(gallery.list_images())


@pytest.mark.parametrize("records", ["memory", "disk"], indirect=True)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.slow
def test_change_during_a_renewal_fails(records, anna, change):
    """The change waits for the renewal, which waits for another change: the renewal cannot be starved."""
    accounts, account, gallery, identity = anna
    failed = []

    def try_change():
        try:
            CHANGES[change](gallery, identity)
        except UnknownToken:
            failed.append(change)

    renewal = threading.Thread(target=accounts.renew, args=(account,))
    coming = [threading.Thread(target=try_change) for _ in range(4)]
    with accounts.holding(account):
        renewal.start()
        renewal.join(0.2)  # it waits now
        for each in coming:
            each.start()
        for each in coming:
            each.join(0.05)
        assert [] == failed
    for each in [renewal, *coming]:
        each.join()
    assert [change] * 4 == failed
    assert {"cat.png": identity} == done(gallery.list_images())


def test_one_of_many_concurrent_renewals_succeeds(anna):
    accounts, account, *_ = anna
    tokens = []

    def renew():
        try:
            tokens.append(accounts.renew(account))
        except UnknownToken:
            tokens.append(None)

    threads = [threading.Thread(target=renew) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    (token,) = [token for token in tokens if token]
    assert "anna" == accounts.authenticate(token).name


# --- a real daemon -----------------------------------------------------------------------------------

RENEWALS = 200 if "FILESTORED_DEEP" in os.environ else 30
UPLOADERS = 6


class Uploader(threading.Thread):
    """Uploads images with the token of `client` until `over`; a name says which token it came with."""

    def __init__(self, daemon, client, number, over):
        super().__init__()
        self.client, self.number, self.over = client, number, over
        self.connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
        self.statuses = []

    def run(self):
        count = 0
        while not self.over.is_set():
            token, count = self.client.token, count + 1
            name = f"{token}.{self.number}.{count}.png"
            head = f'--b\r\nContent-Disposition: form-data; name="x"; filename="{name}"\r\n\r\n'
            body = head.encode() + PNG + b"\r\n--b--\r\n"
            fields = {"Content-Type": "multipart/form-data; boundary=b"}
            self.connection.request("POST", f"/imageapi/token/{token}/upload-image/", body, fields)
            answer = self.connection.getresponse()
            answer.read()
            self.statuses.append(answer.status)


def test_no_image_is_added_with_an_old_token_after_its_renewal(start_daemon):
    daemon = start_daemon("--workers", "2")
    client = Client(daemon)
    over = threading.Event()
    uploaders = [Uploader(daemon, client, number, over) for number in range(UPLOADERS)]
    for each in uploaders:
        each.start()
    listed = {}
    for number in range(RENEWALS):
        until(lambda number=number: accepted(uploaders) > number, "an image has come since the last renewal")
        old = client.token
        client.token = client.call("POST", "regenerate-token/").json()["token"]
        listed[old] = names_with(client, old)
    over.set()
    for each in uploaders:
        each.join()
    late = {old: names_with(client, old) - names for old, names in listed.items()}
    assert {} == {old: names for old, names in late.items() if names}
    statuses = {status for each in uploaders for status in each.statuses}
    assert statuses == {201, 401}


def accepted(uploaders):
    """The number of uploads that were answered 201."""
    return sum(each.statuses.count(201) for each in uploaders)


def names_with(client, token):
    """The names of all images that came with a token."""
    return {name for name in json.loads(client.call("GET", "get-image-list/").text) if name.startswith(token)}
