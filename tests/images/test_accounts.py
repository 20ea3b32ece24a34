"""Accounts and tokens: derived, found, renewed; and what is kept of them."""

import json
import re

import pytest

from filestored.errors import AlreadyExists, NotFound, UnknownToken, UnusableStore
from filestored.images.accounts import TOKEN, Accounts, read_key
from filestored.storage.memory import MemoryRecords
from tests.storage.object_stores import ENGINES, open_object_records, opened_client

KEY = b"k" * 32


@pytest.fixture(params=["memory", *ENGINES])
def records(request):
    if request.param == "memory":
        yield MemoryRecords()
        return
    with opened_client(request) as client:
        yield open_object_records(client)


@pytest.fixture
def accounts(records):
    return Accounts(records, KEY)


def test_token_opens_its_account(accounts):
    token = accounts.register("anna")
    assert TOKEN.fullmatch(token)
    assert ("anna", token) == (accounts.authenticate(token).name, accounts.get_token("anna"))


def test_user_is_registered_once(accounts):
    token = accounts.register("anna")
    with pytest.raises(AlreadyExists, match="User exists"):
        accounts.register("anna")
    assert "anna" == accounts.authenticate(token).name


@pytest.mark.parametrize("name", ["bert", "", "..", "a/b", "\0", "a" * 65])
def test_unknown_user_has_no_token(accounts, name):
    with pytest.raises(NotFound, match="User does not exist"):
        accounts.get_token(name)


@pytest.mark.parametrize("token", ["", "A" * 10, "A" * 9, "A" * 11, "ж" * 10, "../" * 3, "AAAAAAAAA\n"])
def test_malformed_token_is_unknown(accounts, token):
    accounts.register("anna")
    with pytest.raises(UnknownToken):
        accounts.authenticate(token)


def test_token_of_another_key_is_unknown(accounts, records):
    token = accounts.register("anna")
    with pytest.raises(UnknownToken):
        Accounts(records, b"K" * 32).authenticate(token)
    assert token != Accounts(records, b"K" * 32).get_token("anna")


def test_account_record_does_not_reveal_the_token(accounts, records):
    token = accounts.register("anna")
    record = json.loads(records.read("accounts/anna/account"))
    assert {"salt", "generation", "created"} == set(record)
    (lookup,) = records.names("tokens")
    assert re.fullmatch("tokens/[0-9a-f]{64}", lookup)
    assert token not in lookup
    assert b"anna\n" == records.read(lookup)


def test_forged_token_record_does_not_open_an_account(accounts, records):
    """A token record written without the key is useless, because the salt of the account decides."""
    accounts.register("anna")
    forged = "A" * 10
    records.create(accounts._token_record(forged), b"anna\n")
    with pytest.raises(UnknownToken):
        accounts.authenticate(forged)


def test_renewed_token_replaces_the_old_one(accounts, records):
    old = accounts.register("anna")
    account = accounts.authenticate(old)
    new = accounts.renew(account)
    assert "anna" == accounts.authenticate(new).name
    for failing in (
        lambda: accounts.authenticate(old),
        lambda: accounts.holding(account).__enter__(),
        lambda: accounts.renew(account),
    ):
        with pytest.raises(UnknownToken):
            failing()
    assert 1 == len(records.names("tokens"))
    assert 2 == json.loads(records.read("accounts/anna/account"))["generation"]


def test_key_is_created_once(records):
    key = read_key(records)
    assert (32, key) == (len(key), read_key(records))


def test_lost_key_is_not_replaced_when_there_are_accounts(accounts, records):
    accounts.register("anna")
    with pytest.raises(UnusableStore, match="restore"):
        read_key(records)


@pytest.mark.parametrize("text", [b"", b"short", b"zz" * 32, b"\xff" * 64])
def test_damaged_key_is_refused(records, text):
    records.create("KEY", text)
    with pytest.raises(UnusableStore, match="damaged"):
        read_key(records)
