"""Deletion of accounts: on records, at each call of a disk, and beside the removal of orphans."""

import itertools
import os
import threading
from functools import partial

import pytest

from filestored import account_admin
from filestored.errors import AlreadyExists, NotFound, UnknownToken
from filestored.images import catalog as catalog_module
from filestored.images.accounts import Accounts
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.catalog import Catalog
from filestored.images.orphans.cleaner import OrphanCleaner
from filestored.storage.disk import backend as disk_backend
from filestored.storage.disk import records as disk_records
from filestored.storage.disk.records import DiskRecords, prepare
from filestored.storage.memory import MemoryBackend, MemoryRecords
from tests.images.catalog_samples import BMP, PNG, listing
from tests.images.image_fixture import ImageFixture, done, in_child
from tests.images.interleaved_changes import image
from tests.storage.contract import put, watched
from tests.storage.object_stores import ENGINES, open_object_records, opened_client

KEY = b"k" * 32
NAMES = ["cat.png", "dog.png", "eel.png"]


@pytest.fixture(params=["memory", "disk", *ENGINES])
def records(request, place):
    if request.param == "memory":
        yield MemoryRecords()
    elif request.param == "disk":
        prepare(place, "images")
        opened = DiskRecords(place)
        yield opened
        opened.close()
    else:
        with opened_client(request) as client:
            yield open_object_records(client)


@pytest.fixture
def accounts(records):
    """Two accounts with the same images."""
    accounts = Accounts(records, KEY)
    for username in ("anna", "bert"):
        accounts.register(username)
        for name in NAMES:
            Catalog(records, username).add(image(name, b"same"))
    return accounts


def delete(records, accounts, delete_blobs=list, username="anna"):
    """Delete an account on records alone."""
    account = accounts.begin_deletion(username)
    for step in Catalog(records, username).removal_steps(delete_blobs):
        with accounts.holding(account):
            step()
    accounts.finish_deletion(account)


@pytest.mark.parametrize("records_per_step", [2, 100])
def test_deleted_account_has_no_token_images_or_records(records, accounts, monkeypatch, records_per_step):
    monkeypatch.setattr(catalog_module, "STEP_RECORDS", records_per_step)
    token = accounts.get_token("anna")
    blobs = {each.blob for each in listing(records).values()}
    others = listing(records, "bert")
    deleted = []
    delete(records, accounts, deleted.extend)
    assert (len(NAMES), blobs) == (len(deleted), set(deleted))
    for failing in (
        partial(accounts.get_token, "anna"),
        partial(accounts.restore_token, "anna"),
        partial(accounts.begin_deletion, "anna"),
    ):
        with pytest.raises(NotFound, match="User does not exist"):
            failing()
    with pytest.raises(UnknownToken):
        accounts.authenticate(token)
    assert [] == records.names("accounts/anna")
    assert 1 == len(records.names("tokens"))
    assert (["bert"], others) == (accounts.names(), listing(records, "bert"))
    assert token != accounts.register("anna")
    assert {} == listing(records)


def test_account_is_no_account_from_the_first_step_of_its_deletion(records, accounts):
    token = accounts.get_token("anna")
    before = accounts.authenticate(token)
    assert accounts.begin_deletion("anna") == accounts.begin_deletion("anna")
    for failing in (
        partial(accounts.authenticate, token),
        partial(accounts.renew, before),
        accounts.holding(before).__enter__,
    ):
        with pytest.raises(UnknownToken):
            failing()
    with pytest.raises(NotFound):
        accounts.restore_token("anna")
    with pytest.raises(AlreadyExists):
        accounts.register("anna")
    assert ["bert"] == accounts.names()
    deleted = []
    delete(records, accounts, deleted.extend)
    assert len(NAMES) == len(deleted)


def test_deletion_waits_for_a_change_in_progress(records, accounts):
    account = accounts.authenticate(accounts.get_token("anna"))
    deletion = threading.Thread(target=accounts.begin_deletion, args=("anna",))
    with accounts.holding(account):
        deletion.start()
        deletion.join(0.2)
        assert deletion.is_alive()
    deletion.join()


def test_deletion_that_another_process_has_finished_changes_no_new_account(records, accounts):
    account = accounts.begin_deletion("anna")
    step = next(Catalog(records, "anna").removal_steps(list))
    delete(records, accounts)
    token = accounts.register("anna")
    with pytest.raises(UnknownToken), accounts.holding(account):
        step()
    accounts.finish_deletion(account)
    assert "anna" == accounts.authenticate(token).name


def test_image_with_a_damaged_record_is_deleted_too(records, accounts):
    (name, *_) = records.names("accounts/anna/images")
    records.replace(name, records.read(name), b"{}")
    deleted = []
    delete(records, accounts, deleted.extend)
    assert len(NAMES) - 1 == len(deleted)
    assert [] == records.names("accounts/anna")


# --- beside the removal of orphans -------------------------------------------------------------------


def cleaned(records, accounts, backend):
    return OrphanCleaner(records, accounts, backend, now=3e9).run()


@pytest.fixture
def backend(records, accounts):
    """The blobs of the images, and an orphan."""
    backend = MemoryBackend(UNIQUE_SHA256)
    for blob in [*(each.blob for name in ("anna", "bert") for each in listing(records, name).values())]:
        put(backend, b"same", blob)
    put(backend, b"orphan", UNIQUE_SHA256.parse("ab" * UNIQUE_SHA256.size))
    return backend


def test_cleaner_leaves_the_blobs_of_an_unfinished_deletion_to_it(records, accounts, backend):
    accounts.begin_deletion("anna")
    next(Catalog(records, "anna").removal_steps(list))()
    result = cleaned(records, accounts, backend)
    assert (1, None, 0) == (result.moved, result.refusal, result.restored)
    assert 2 * len(NAMES) == len(backend.digests(None, 100))


def test_cleaner_moves_orphans_after_a_deletion(records, accounts, backend):
    delete(records, accounts, lambda blobs: list(map(backend.delete, blobs)))
    result = cleaned(records, accounts, backend)
    assert (1, None, 0) == (result.moved, result.refusal, result.restored)
    assert len(NAMES) == len(backend.digests(None, 100))


def test_cleaner_moves_nothing_after_the_deletion_of_the_last_account(records, accounts, backend):
    for username in ("anna", "bert"):
        delete(records, accounts, lambda blobs: list(map(backend.delete, blobs)), username)
    result = cleaned(records, accounts, backend)
    assert (0, 1) == (result.moved, len(backend.digests(None, 100)))


# --- interrupted deletions on a disk -----------------------------------------------------------------


def prepared(place):
    """Two accounts with the same images; return what they have."""
    fixture = ImageFixture(place)
    for username in ("anna", "bert"):
        try:
            token = done(fixture.image_store.register(username))
        except AlreadyExists:
            continue
        for name, data in (("cat.png", PNG), ("dog.bmp", BMP)):
            fixture.put(token, name, data)
    contents = fixture.contents("bert")
    fixture.check()
    fixture.close()
    return contents


CHANGING = {"fchmod", "fsync", "ftruncate", "link", "mkdir", "rename", "syncfs", "unlink", "write"}


def delete_and_die(place, site):
    """Delete the account; the process ends at the call number `site` of those that change something."""
    count = itertools.count()
    calls = watched(lambda name, args: name in CHANGING and next(count) == site and os._exit(9))
    for module in (disk_records, disk_backend):
        module.Syscalls = lambda: calls
    account_admin.delete(place, "anna")


def state_of(place):
    """Check that the account is whole, or no account; return which."""
    fixture = ImageFixture(place)
    try:
        assert (0, None) == ((result := fixture.sweep()).moved, result.refusal)
        try:
            assert fixture.contents("bert") == fixture.contents("anna")
        except NotFound:
            assert ["bert"] == fixture.accounts.names()
            return "no account"
        return "account"
    finally:
        fixture.close()


def delete_again(place):
    """Delete the account, unless that is done; return whether it was left."""
    try:
        account_admin.delete(place, "anna")
    except NotFound:
        return False
    return True


def test_process_killed_at_any_call_leaves_the_account_or_none_and_a_second_deletion_finishes(place):
    site, ended, seen = 0, False, []
    while not ended:
        contents = prepared(place)
        code = in_child(partial(delete_and_die, place, site))
        assert code in (0, 9)
        ended = code == 0
        seen.append((state_of(place), delete_again(place)))
        fixture = ImageFixture(place)
        assert [] == fixture.records.names("accounts/anna")
        assert 1 == len(fixture.records.names("tokens"))
        fixture.check()
        assert contents == fixture.contents("bert")
        fixture.close()
        site += 1
    assert ("no account", False) == seen[-1]
    assert seen == sorted(seen, key=[("account", True), ("no account", True), ("no account", False)].index)
    assert 3 == len(set(seen))
