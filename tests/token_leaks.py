"""No daemon of any test ever writes a secret down: what each has written is searched when it has ended.

Secrets are the tokens of its accounts, and the key of the object store.
"""

import gzip
import os
from collections.abc import Iterable

from filestored.images.accounts import Accounts, read_key
from filestored.interfaces import IRecords
from filestored.storage.disk.records import DiskRecords
from tests.seaweedfs import SECRET_KEY

KEY = "KEY"
"""The record from which all tokens derive; there is none before the first start."""

LOGS = ("log", "stderr", "access", "filestored.log")
"""Prefixes of the text files that a daemon under test writes, rotated ones included."""


def leaks(directory: str, tokens: Iterable[bytes] = ()) -> list[str]:
    """The files in the directory of a daemon that hold a secret; `tokens` are of accounts elsewhere."""
    secrets = [SECRET_KEY.encode(), *tokens, *_tokens_on_disk(os.path.join(directory, "images"))]
    files = [entry.name for entry in os.scandir(directory) if entry.is_file()]  # a log may be a FIFO
    logs = [name for name in files if name.startswith(LOGS)]
    return [name for name in logs if any(each in _text(os.path.join(directory, name)) for each in secrets)]


def tokens_of(records: IRecords) -> list[bytes]:
    """The tokens of all accounts, as the server itself would tell them."""
    if records.read(KEY) is None:
        return []
    accounts = Accounts(records, read_key(records))
    return [accounts.get_token(name).encode() for name in accounts.names()]


def _tokens_on_disk(images: str) -> list[bytes]:
    if not os.path.exists(os.path.join(images, KEY)):
        return []
    records = DiskRecords(images)
    try:
        return tokens_of(records)
    finally:
        records.close()


def _text(path: str) -> bytes:
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        return file.read()
