"""No daemon of any test ever writes a token down: what each has written is searched when it has ended."""

import gzip
import os

from filestored.images.accounts import ACCOUNTS, Accounts, read_key
from filestored.storage.disk.records import DiskRecords

LOGS = ("log", "stderr", "access", "filestored.log")
"""Prefixes of the text files that a daemon under test writes, rotated ones included."""


def leaks(directory: str) -> list[str]:
    """The files in the directory of a daemon that hold a token of one of its accounts."""
    tokens = _tokens(os.path.join(directory, "images"))
    if not tokens:
        return []
    logs = [name for name in os.listdir(directory) if name.startswith(LOGS)]
    return [name for name in logs if any(token in _text(os.path.join(directory, name)) for token in tokens)]


def _tokens(images: str) -> list[bytes]:
    """The tokens of all accounts, as the server itself would tell them."""
    if not os.path.exists(os.path.join(images, "KEY")):
        return []
    records = DiskRecords(images)
    try:
        accounts = Accounts(records, read_key(records))
        names = {name.split("/")[1] for name in records.names(ACCOUNTS) if name.endswith("/account")}
        return [accounts.get_token(name).encode() for name in sorted(names)]
    finally:
        records.close()


def _text(path: str) -> bytes:
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        return file.read()
