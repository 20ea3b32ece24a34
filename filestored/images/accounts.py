"""Accounts and the tokens that open them. Blocking; all it needs are records and the server's key.

::

    KEY                        32 random bytes, in hexadecimal
    accounts/anna/account      the account: a random salt, how many tokens it has had, when it was made
    tokens/<hash of a token>   whose token it is

A token is derived from the key, the user name and the salt (HMAC-SHA-256), so it can be told
again to who has lost it, while neither an account's file nor the names below ``tokens/`` give it
away without the key. What stands in ``tokens/`` only finds the account; it is the account's salt
that decides. So a new salt, one atomic change, makes the new token valid and the old one worthless.

A token's record without an account opens nothing, so it may stay. One that is lost is made anew from the
account and the key (`restore_token`): at the sweep, and before a token is handed out.
"""

import base64
import hmac
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from filestored.errors import AlreadyExists, NotFound, UnknownToken, UnusableStore
from filestored.interfaces import IRecords

USERNAME = re.compile("[A-Za-z0-9_]{1,64}")
"""What a user may be called."""

TOKEN = re.compile("[A-Za-z0-9_-]{10}")
"""What a token looks like."""

ACCOUNTS = "accounts"
TOKENS = "tokens"

_KEY = "KEY"
_KEY_SIZE = 32
_SALT_SIZE = 16
_TOKEN_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Account:
    """An account that a token has opened: its name, and its record at that moment."""

    name: str
    record: bytes


class Accounts:
    """The accounts in `records`, whose tokens derive from `key`."""

    def __init__(self, records: IRecords, key: bytes) -> None:
        self._records = records
        self._key = key

    def register(self, username: str) -> str:
        """Make an account; returns its token. Raises `AlreadyExists`."""
        record = _record(1)
        if not self._records.create(_place(username), record):
            raise AlreadyExists("User exists")
        return self._announce(username, record)

    def get_token(self, username: str) -> str:
        """The token of an account, whether it can be found by it or not. Raises `NotFound`."""
        return self._token(username, self._record_of(username))

    def finds(self, username: str, token: str) -> bool:
        """Whether the record in ``tokens/`` is there that leads from `token` to the account."""
        return self._records.read(self._lookup(token)) == _owner(username)

    def restore_token(self, username: str) -> bool:
        """Make the record in ``tokens/`` anew if it is lost or wrong; whether it was. Raises `NotFound`."""
        while True:
            record = self._record_of(username)
            if self.finds(username, self._token(username, record)):
                return False
            with self._records.held(_place(username), record) as is_current:
                if is_current:  # else the token was renewed meanwhile
                    self._announce(username, record)
                    return True

    def authenticate(self, token: str) -> Account:
        """The account that `token` opens. Raises `UnknownToken`."""
        owner = self._records.read(self._lookup(token)) if TOKEN.fullmatch(token) else None
        if owner is None:
            raise UnknownToken("Unknown token")
        name = owner.decode("ascii").strip()
        record = self._records.read(_place(name))
        if record is None or not hmac.compare_digest(self._token(name, record), token):
            raise UnknownToken("Unknown token")
        return Account(name, record)

    @contextmanager
    def holding(self, account: Account) -> Iterator[None]:
        """Keep the token of `account` from being renewed while the context lasts.

        Raises `UnknownToken` when it has been renewed. `renew` waits for the end of the context.
        """
        with self._records.held(_place(account.name), account.record) as is_current:
            if not is_current:
                raise UnknownToken("Unknown token")
            yield

    def renew(self, account: Account) -> str:
        """A new token in the place of the one that has opened `account`. Raises `UnknownToken`."""
        record = _record(json.loads(account.record)["generation"] + 1)
        token = self._announce(account.name, record)
        if not self._records.replace(_place(account.name), account.record, record):
            self._retract(account.name, token)
            raise UnknownToken("Unknown token")
        self._retract(account.name, self._token(account.name, account.record))
        return token

    def _record_of(self, username: str) -> bytes:
        """The record of an account. Raises `NotFound`."""
        record = self._records.read(_place(username)) if USERNAME.fullmatch(username) else None
        if record is None:
            raise NotFound("User does not exist")
        return record

    def _announce(self, username: str, record: bytes) -> str:
        """Write the record that leads from the token to the account; returns the token."""
        token = self._token(username, record)
        place, owner = self._lookup(token), _owner(username)
        while not self._records.create(place, owner):
            held = self._records.read(place)
            if held == owner or (held is not None and self._records.replace(place, held, owner)):
                break
        return token

    def _retract(self, username: str, token: str) -> None:
        self._records.remove(self._lookup(token), _owner(username))

    def _token(self, username: str, record: bytes) -> str:
        salt = bytes.fromhex(json.loads(record)["salt"])
        digest = self._hash(b"token", username.encode("ascii"), salt)
        return base64.urlsafe_b64encode(digest)[:_TOKEN_LENGTH].decode("ascii")

    def _lookup(self, token: str) -> str:
        return f"{TOKENS}/{self._hash(b'lookup', token.encode('ascii')).hex()}"

    def _hash(self, *parts: bytes) -> bytes:
        return hmac.digest(self._key, b"\0".join(parts), "sha256")


def read_key(records: IRecords) -> bytes:
    """The server's key, made when there is none yet. Raises `UnusableStore` when it has been lost."""
    text = records.read(_KEY)
    if text is None and (records.entries(ACCOUNTS) or records.entries(TOKENS)):
        raise UnusableStore(
            f"there are accounts but no {_KEY} file to open them with; restore it from a copy"
        )
    if text is None:
        records.create(_KEY, secrets.token_hex(_KEY_SIZE).encode("ascii") + b"\n")
        text = records.read(_KEY) or b""
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_SIZE:
        raise UnusableStore(f"the {_KEY} file is damaged; restore it from a copy")
    return key


def _owner(username: str) -> bytes:
    return username.encode("ascii") + b"\n"


def _place(username: str) -> str:
    return f"{ACCOUNTS}/{username}/account"


def _record(generation: int) -> bytes:
    value = {
        "salt": secrets.token_hex(_SALT_SIZE),
        "generation": generation,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(value, indent=2).encode("ascii") + b"\n"
