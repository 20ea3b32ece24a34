"""Accounts and tokens: derived, found, renewed; and what is kept of them."""

import json
import re

import pytest

from filestored.errors import AlreadyExists, NotFound, UnknownToken, UnusableStore
from filestored.images.accounts import TOKEN, Accounts, read_key
from filestored.storage.memory import MemoryRecords

KEY = b"k" * 32


@pytest.fixture
def records():
    return MemoryRecords()


@pytest.fixture
def accounts(records):
    return Accounts(records, KEY)


def test_a_token_opens_its_account(accounts):
    token = accounts.register("anna")
    assert TOKEN.fullmatch(token)
    assert ("anna", token) == (accounts.authenticate(token).name, accounts.get_token("anna"))


def test_a_user_is_registered_once(accounts):
    token = accounts.register("anna")
    with pytest.raises(AlreadyExists, match="User exists"):
        accounts.register("anna")
    assert "anna" == accounts.authenticate(token).name


@pytest.mark.parametrize("name", ["bert", "", "..", "a/b", "\0", "a" * 65])
def test_who_is_not_registered_has_no_token(accounts, name):
    with pytest.raises(NotFound, match="User does not exist"):
        accounts.get_token(name)


@pytest.mark.parametrize("token", ["", "A" * 10, "A" * 9, "A" * 11, "ж" * 10, "../" * 3, "AAAAAAAAA\n"])
def test_what_is_no_token_opens_nothing(accounts, token):
    accounts.register("anna")
    with pytest.raises(UnknownToken):
        accounts.authenticate(token)


def test_with_another_key_no_token_is_any_good(accounts, records):
    token = accounts.register("anna")
    with pytest.raises(UnknownToken):
        Accounts(records, b"K" * 32).authenticate(token)
    assert token != Accounts(records, b"K" * 32).get_token("anna")


def test_the_account_alone_does_not_give_the_token_away(accounts, records):
    token = accounts.register("anna")
    record = json.loads(records.read("accounts/anna/account"))
    assert {"salt", "generation", "created"} == set(record)
    (lookup,) = records.names("tokens")
    assert re.fullmatch("tokens/[0-9a-f]{64}", lookup)
    assert token not in lookup
    assert b"anna\n" == records.read(lookup)


def test_a_record_that_finds_an_account_does_not_open_it(accounts, records):
    """Whoever can write a token's record, but has no key, gets nowhere: the account decides."""
    accounts.register("anna")
    forged = "A" * 10
    records.create(accounts._token_record(forged), b"anna\n")
    with pytest.raises(UnknownToken):
        accounts.authenticate(forged)


def test_a_renewed_token_replaces_the_old_one(accounts, records):
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


def test_the_key_is_made_once(records):
    key = read_key(records)
    assert (32, key) == (len(key), read_key(records))


def test_a_key_that_is_gone_is_not_made_anew_over_accounts(accounts, records):
    accounts.register("anna")
    with pytest.raises(UnusableStore, match="restore"):
        read_key(records)


@pytest.mark.parametrize("text", [b"", b"short", b"zz" * 32, b"\xff" * 64])
def test_a_damaged_key_is_refused(records, text):
    records.create("KEY", text)
    with pytest.raises(UnusableStore, match="damaged"):
        read_key(records)
