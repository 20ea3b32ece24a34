"""Accounts and their tokens. Blocking; needs records and the key of the server.

::

    KEY                        32 random bytes, in hexadecimal
    accounts/anna/account      the account: random salt, number of tokens so far, date of creation
    tokens/<hash of a token>   the account name of a token

A token is derived from key, user name and salt (HMAC-SHA-256), so a lost token can be computed again. Neither
the account record nor the names below ``tokens/`` reveal it without the key. A record in ``tokens/`` only
finds the account; the salt decides. So a new salt, one atomic change, replaces the token.

A token record without an account is harmless and may stay. A lost one is restored from the account and the
key (`restore_token`): by the orphan cleaner, and before a token is returned.

Deletion: the date ``deleted`` in the account record ends the account, and keeps its name taken. Its images
and token record are removed next, and the account record last. So an interrupted deletion can be continued,
and a new account of the same name has no images.
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
"""A valid user name."""

TOKEN = re.compile("[A-Za-z0-9_-]{10}")
"""The form of a token."""

ACCOUNTS = "accounts"
TOKENS = "tokens"

_KEY = "KEY"
_KEY_BYTES = 32
_SALT_BYTES = 16
_TOKEN_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Account:
    """An authenticated account: its name, and its record at that moment."""

    name: str
    record: bytes


class Accounts:
    """The accounts in `records`, whose tokens derive from `key`; None reads the key when it is needed."""

    def __init__(self, records: IRecords, key: bytes | None = None) -> None:
        self._records = records
        self._key = key

    def register(self, username: str) -> str:
        """Create an account; return its token. Raises `AlreadyExists`."""
        record = _new_record(1)
        if not self._records.create(_account_record(username), record):
            raise AlreadyExists("User exists")
        return self._add_token(username, record)

    def names(self) -> list[str]:
        """Return the names of all accounts in ascending order."""
        return [name for name in self._records.entries(ACCOUNTS) if self._read(name) is not None]

    def get_token(self, username: str) -> str:
        """Return the token of an account, with or without a token record. Raises `NotFound`."""
        return self._token(username, self._record_of(username))

    def has_token_record(self, username: str, token: str) -> bool:
        """Return whether the record in ``tokens/`` leads from `token` to the account."""
        return self._records.read(self._token_record(token)) == _owner(username)

    def restore_token(self, username: str) -> bool:
        """Restore the record in ``tokens/``; return whether it was lost or wrong. Raises `NotFound`."""
        while True:
            record = self._record_of(username)
            if self.has_token_record(username, self._token(username, record)):
                return False
            with self._records.held(_account_record(username), record) as is_current:
                if is_current:  # else the token was renewed meanwhile
                    self._add_token(username, record)
                    return True

    def authenticate(self, token: str) -> Account:
        """Return the account of `token`. Raises `UnknownToken`."""
        owner = self._records.read(self._token_record(token)) if TOKEN.fullmatch(token) else None
        if owner is None:
            raise UnknownToken("Unknown token")
        name = owner.decode("ascii").strip()
        record = self._read(name)
        if record is None or not hmac.compare_digest(self._token(name, record), token):
            raise UnknownToken("Unknown token")
        return Account(name, record)

    @contextmanager
    def holding(self, account: Account) -> Iterator[None]:
        """Keep the token of `account` valid while the context lasts.

        Raises `UnknownToken` when it was renewed before. `renew` waits for the end of the context.
        """
        with self._records.held(_account_record(account.name), account.record) as is_current:
            if not is_current:
                raise UnknownToken("Unknown token")
            yield

    def renew(self, account: Account) -> str:
        """Replace the token that opened `account`; return the new one. Raises `UnknownToken`."""
        record = _new_record(json.loads(account.record)["generation"] + 1)
        token = self._add_token(account.name, record)
        if not self._records.replace(_account_record(account.name), account.record, record):
            self._remove_token(account.name, token)
            raise UnknownToken("Unknown token")
        self._remove_token(account.name, self._token(account.name, account.record))
        return token

    def begin_deletion(self, username: str) -> Account:
        """End an account for good, after all changes in progress; return it for `holding`.

        Also returns one whose deletion was interrupted. Raises `NotFound`; for a damaged record `ValueError`,
        `LookupError` or `TypeError`.
        """
        place = _account_record(username)
        while USERNAME.fullmatch(username) and (record := self._records.read(place)) is not None:
            if _is_deleted(record):
                return Account(username, record)
            self._token(username, record)  # a damaged record has none, and is kept
            ended = _to_json({**json.loads(record), "deleted": _now()})
            if self._records.replace(place, record, ended):
                return Account(username, ended)
        raise _unknown_user()

    def finish_deletion(self, account: Account) -> None:
        """Remove the token record of an account without images, then its record: the name is free."""
        self._remove_token(account.name, self._token(account.name, account.record))
        self._records.remove(_account_record(account.name), account.record)

    def is_being_deleted(self, username: str) -> bool:
        """Return whether the deletion of an account has begun, and not ended."""
        record = self._records.read(_account_record(username))
        return record is not None and _is_deleted(record)

    def _record_of(self, username: str) -> bytes:
        """Return the record of an account. Raises `NotFound`."""
        record = self._read(username) if USERNAME.fullmatch(username) else None
        if record is None:
            raise _unknown_user()
        return record

    def _read(self, username: str) -> bytes | None:
        """Return the record of an account; None if there is none, or it is being deleted."""
        record = self._records.read(_account_record(username))
        return None if record is None or _is_deleted(record) else record

    def _add_token(self, username: str, record: bytes) -> str:
        """Write the record that leads from the token to the account; return the token."""
        token = self._token(username, record)
        place, owner = self._token_record(token), _owner(username)
        while not self._records.create(place, owner):
            held = self._records.read(place)
            if held == owner or (held is not None and self._records.replace(place, held, owner)):
                break
        return token

    def _remove_token(self, username: str, token: str) -> None:
        self._records.remove(self._token_record(token), _owner(username))

    def _token(self, username: str, record: bytes) -> str:
        salt = bytes.fromhex(json.loads(record)["salt"])
        digest = self._hash(b"token", username.encode("ascii"), salt)
        return base64.urlsafe_b64encode(digest)[:_TOKEN_LENGTH].decode("ascii")

    def _token_record(self, token: str) -> str:
        return f"{TOKENS}/{self._hash(b'lookup', token.encode('ascii')).hex()}"

    def _hash(self, *parts: bytes) -> bytes:
        if self._key is None:
            self._key = read_key(self._records)
        return hmac.digest(self._key, b"\0".join(parts), "sha256")


def read_key(records: IRecords) -> bytes:
    """Return the server's key, created in an empty directory. Raises `UnusableStore` when it is lost."""
    text = records.read(_KEY)
    if text is None and (records.entries(ACCOUNTS) or records.entries(TOKENS)):
        raise UnusableStore(
            f"there are accounts but no {_KEY} file to open them with; restore it from a copy"
        )
    if text is None:
        records.create(_KEY, secrets.token_hex(_KEY_BYTES).encode("ascii") + b"\n")
        text = records.read(_KEY) or b""
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise UnusableStore(f"the {_KEY} file is damaged; restore it from a copy")
    return key


def _owner(username: str) -> bytes:
    return username.encode("ascii") + b"\n"


def _account_record(username: str) -> str:
    return f"{ACCOUNTS}/{username}/account"


def _new_record(generation: int) -> bytes:
    return _to_json({"salt": secrets.token_hex(_SALT_BYTES), "generation": generation, "created": _now()})


def _is_deleted(record: bytes) -> bool:
    """Return whether an account is being deleted; False for a damaged record, which is still that of one."""
    try:
        return "deleted" in json.loads(record)
    except (ValueError, TypeError):
        return False


def _to_json(value: dict[str, object]) -> bytes:
    return json.dumps(value, indent=2).encode("ascii") + b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _unknown_user() -> NotFound:
    return NotFound("User does not exist")
