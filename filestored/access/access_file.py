"""The access file on disk: read it, add a token, revoke one. Blocking.

A change replaces the file atomically; mode, owner and comments stay. The new text is parsed before. Commands
that run at the same time wait for the lock on the file. A lock belongs to one version of the file, so a
command that had to wait opens the new version and starts again.

Rejected: a lock on the directory, which each user who can open it could hold.
"""

import fcntl
import os
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from datetime import date
from itertools import takewhile
from secrets import token_hex

import tomlkit
from tomlkit.exceptions import TOMLKitError

from filestored.access.rules import OTHER_BUCKETS, AccessRules, Right, ordered
from filestored.access.tokens import make_secret, sha256_of
from filestored.errors import AccessFileError

MAX_BYTES = 2**20
"""Maximum size of an access file."""

NEW_FILE_MODE = 0o600
"""Mode of an access file that a command creates."""

_Change = Callable[[str], str]
"""A function from a text of the file to the next one. Raises `AccessFileError`."""


def read_text(path: str) -> str:
    """Return the text of an access file, not parsed.

    Raises `AccessFileError`, which names the path, if other users may read it, or `OSError`.
    """
    with _opened(path) as descriptor:
        return _read(descriptor, path)


def read_rules(path: str) -> AccessRules:
    """Return the rules in an access file. Raises `AccessFileError`, which names the path, or `OSError`."""
    return _parse(path, read_text(path))


def add_token(path: str, name: str, buckets: Mapping[str, Set[Right]], expires: date | None = None) -> str:
    """Add a token, and an empty table for each of its buckets that has none; return the secret.

    Creates a missing file. Raises `AccessFileError`, which names the path, or `OSError`.
    """
    secret = make_secret()

    def change(text: str) -> str:
        if name in _parse(path, text).tokens:
            raise AccessFileError(
                f"{path}: there is a token {name} already; choose another name, or revoke it"
            )
        declared = tomllib.loads(text).get("buckets", {})
        missing = [bucket for bucket in buckets if bucket not in {OTHER_BUCKETS, *declared}]
        added = _tables(name, sha256_of(secret), expires, buckets, missing)
        return "\n\n".join(filter(None, (text.rstrip("\n"), added)))

    _edit(path, change, create=True)
    return secret


def revoke_token(path: str, name: str) -> None:
    """Remove a token. Raises `AccessFileError`, which names the path, or `OSError`."""

    def change(text: str) -> str:
        if name not in _parse(path, text).tokens:
            raise AccessFileError(f"{path}: there is no token {name}")
        shorter = _without(text, name)
        if name in _parse(path, shorter).tokens:
            raise AccessFileError(f"{path}: this command cannot remove tokens.{name}; remove it by hand")
        return shorter

    _edit(path, change, create=False)


def _tables(
    name: str,
    sha256: bytes,
    expires: date | None,
    buckets: Mapping[str, Set[Right]],
    missing: list[str],
) -> str:
    """Return the TOML of a token, and of empty tables for missing buckets."""
    rights = {bucket: ordered(found) for bucket, found in buckets.items()}
    lifetime = {} if expires is None else {"expires": expires}
    token = {"sha256": sha256.hex(), **lifetime, "buckets": rights}
    tables: dict[str, object] = {"buckets": {bucket: {} for bucket in missing}} if missing else {}
    return tomlkit.dumps({"tokens": {name: token}, **tables})


def _without(text: str, name: str) -> str:
    """Return the text without a token.

    tomlkit counts the comments behind a table as a part of it. They describe the next table, so they stay.
    """
    document = tomlkit.parse(text.rstrip("\n") + "\n")
    lines = document.as_string().split("\n")
    del document["tokens"][name]
    left = document.as_string().split("\n")
    kept: list[str] = []
    removed: list[str] = []
    matched = 0
    for line in lines:
        if [line] == left[matched : matched + 1]:
            kept += [*_last_comments(removed), line]
            removed = []
            matched += 1
        else:
            removed.append(line)
    kept += _last_comments(removed)
    return "\n".join(kept if matched == len(left) else left)


def _last_comments(lines: list[str]) -> list[str]:
    """Return the comments and blank lines at the end of some lines."""
    return list(takewhile(_is_comment, reversed(lines)))[::-1]


def _is_comment(line: str) -> bool:
    """Return whether a line is a comment, or blank."""
    return line.strip()[:1] in ("", "#")


def _parse(path: str, text: str) -> AccessRules:
    try:
        return AccessRules.parse(text)
    except AccessFileError as error:
        raise AccessFileError(f"{path}: {error}") from None


def _edit(path: str, change: _Change, *, create: bool) -> None:
    """Replace the file by a changed one. Raises `AccessFileError` or `OSError`; then nothing has changed."""
    target = os.path.realpath(path)
    while not _edit_once(target, change, create):
        pass  # another command was faster


def _edit_once(path: str, change: _Change, create: bool) -> bool:
    """Do it; return False if another command has created or replaced the file meanwhile."""
    try:
        with _opened(path) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            status = os.fstat(descriptor)
            if not os.path.samestat(status, os.stat(path)):
                return False
            _write(path, _changed(path, _read(descriptor, path), change), status)
            return True
    except FileNotFoundError:
        if not create:
            raise
    try:
        _write(path, _changed(path, "", change), None)
    except FileExistsError:
        return False
    return True


def _changed(path: str, text: str, change: _Change) -> str:
    """Return the changed text, which is a valid access file. Raises `AccessFileError`."""
    try:
        result = change(text)
    except TOMLKitError:
        raise AccessFileError(f"{path}: this command cannot change it; change it by hand") from None
    try:
        AccessRules.parse(result)
    except AccessFileError as error:
        raise AccessFileError(f"{path}: changed by this command it would be broken: {error}") from None
    return result


def _write(path: str, text: str, replaced: os.stat_result | None) -> None:
    """Write the file durably, with mode and owner of the one that it replaces.

    If it replaces none, raises `FileExistsError` if there is one.
    """
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    name, temporary = os.path.basename(path), f".access-{token_hex(8)}.tmp"
    try:
        _write_temporary(directory, temporary, text, replaced)
        if replaced is None:
            os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        os.close(directory)


def _write_temporary(directory: int, name: str, text: str, replaced: os.stat_result | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(name, flags, NEW_FILE_MODE, dir_fd=directory), "wb") as file:
        if replaced is not None:
            made = os.fstat(file.fileno())
            if (made.st_uid, made.st_gid) != (replaced.st_uid, replaced.st_gid):
                _give_to(file.fileno(), replaced)
            os.fchmod(file.fileno(), stat.S_IMODE(replaced.st_mode))
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _give_to(descriptor: int, replaced: os.stat_result) -> None:
    try:
        os.fchown(descriptor, replaced.st_uid, replaced.st_gid)
    except PermissionError:
        reason = (
            f"the access file belongs to user {replaced.st_uid}; run the command as that user, or as root"
        )
        raise AccessFileError(reason) from None


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """Open the file for reading; a FIFO does not block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: str) -> str:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise AccessFileError(f"{path}: it is not a file")
    if status.st_mode & stat.S_IRWXO:
        raise AccessFileError(f"{path}: other users have permissions on it; run chmod o= on it")
    with open(descriptor, "rb", closefd=False) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise AccessFileError(f"{path}: it is larger than {MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise AccessFileError(f"{path}: it is not UTF-8") from None
