"""Search for secrets in all that a daemon of any test has written, when it has ended, and in its arguments.

Secrets are the tokens of its accounts, the key of the object store, the secrets of access files, their
hashes, which sign links, and the signatures of links. Secrets and signatures are found by their form, so no
test has to name them: as they are, and with letters percent-encoded; secrets also within Base64, as Basic
sends them.
"""

import gzip
import os
import re
from collections.abc import Iterable
from contextlib import suppress

from filestored.images.accounts import Accounts, read_key
from filestored.interfaces import IRecords
from filestored.storage.disk.records import DiskRecords
from tests.seaweedfs import SECRET_KEY

KEY = "KEY"
"""The record from which all tokens derive; there is none before the first start."""

LOGS = ("log", "stderr", "access", "filestored.log", "core")
"""Prefixes of the files that a daemon under test writes, rotated logs and core files included."""

ACCESS_FILES = ".toml"
"""Suffix of access files, whose hashes are secrets."""

_LETTER = rb"(?:[A-Za-z0-9_-]|%(?:25)*[2-7][0-9A-Fa-f])"
_SIGNED = b"".join(rb"(?:%c|%%(?:25)*%02x)" % (letter, letter) for letter in b"signature")
_FORMS = re.compile(
    b"|".join(
        [
            rb"fst(?:_|%(?:25)*5[Ff])" + _LETTER + rb"{20}",
            _SIGNED + rb"(?:=|%(?:25)*3[Dd])(?:%(?:25)*20)?" + _LETTER + rb"{20}",
            rb"(?:ZnN0X|mc3Rf|ZzdF[89+/])[A-Za-z0-9+/_-]{20}",
        ]
    )
)
"""Secrets and signatures by their form; a cut one counts, too."""

_HASH = re.compile(rb"""^\s*sha256\s*=\s*["']([0-9A-Fa-f]{64})["']""", re.MULTILINE)


ARGUMENTS = "arguments"
"""The name of the arguments of processes among files with a secret."""


def leaks(directory: str, tokens: Iterable[bytes] = (), arguments: bytes = b"") -> list[str]:
    """The files of a daemon that hold a secret, and `ARGUMENTS` if those of its processes do.

    `tokens` are of accounts elsewhere.
    """
    secrets = [*_known_secrets(directory), *tokens]
    files = [entry.name for entry in os.scandir(directory) if entry.is_file()]  # a log may be a FIFO
    logs = [name for name in files if name.startswith(LOGS) and not name.endswith(ACCESS_FILES)]
    shown = [ARGUMENTS] if _has_secret(arguments, secrets) else []
    return shown + [name for name in logs if _has_secret(_text(os.path.join(directory, name)), secrets)]


def arguments_of(pids: Iterable[int]) -> bytes:
    """The arguments of running processes, which ``ps`` shows to all users."""
    found = []
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/cmdline", "rb") as file:
            found.append(file.read())
    return b"\0".join(found)


def _known_secrets(directory: str) -> list[bytes]:
    """The secrets that have no form of their own."""
    names = [entry.path for entry in os.scandir(directory) if entry.name.endswith(ACCESS_FILES)]
    hashes = [each for name in names if os.path.isfile(name) for each in _HASH.findall(_text(name))]
    return [SECRET_KEY.encode(), *hashes, *_tokens_on_disk(os.path.join(directory, "images"))]


def _has_secret(text: bytes, secrets: Iterable[bytes]) -> bool:
    return _FORMS.search(text) is not None or any(each in text for each in secrets)


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
