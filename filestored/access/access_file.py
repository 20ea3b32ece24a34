"""The access file on disk: read it, add a token, revoke one. Blocking.

A change replaces the file atomically; mode and owner stay. The new text is parsed before. Commands that run
at the same time wait for the lock on the file. A lock belongs to one version of the file, so a command that
had to wait opens the new version and starts again.

Rejected: a lock on the directory, which each user who can open it could hold.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from datetime import date
from secrets import token_hex

from filestored.access.rules import AccessRules, Right
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
    with _naming(path), _opened(path) as descriptor:
        return _read(descriptor)


def read_rules(path: str) -> AccessRules:
    """Return the rules in an access file. Raises `AccessFileError`, which names the path, or `OSError`."""
    text = read_text(path)
    with _naming(path):
        return AccessRules.parse(text)


def add_token(path: str, name: str, buckets: Mapping[str, Set[Right]], expires: date | None = None) -> str:
    """Add a token, and an empty table for each of its buckets that has none; return the secret.

    Creates a missing file. Raises `AccessFileError`, which names the path, or `OSError`.
    """
    secret = make_secret()
    from filestored.access.editing import with_token  # it imports an editor, which no server needs

    _edit(path, lambda text: with_token(text, name, sha256_of(secret), buckets, expires), create=True)
    return secret


def revoke_token(path: str, name: str) -> None:
    """Remove a token. Raises `AccessFileError`, which names the path, or `OSError`."""
    from filestored.access.editing import without_token

    _edit(path, lambda text: without_token(text, name), create=False)


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Add the path to the message of an `AccessFileError`."""
    try:
        yield
    except AccessFileError as error:
        raise AccessFileError(f"{path}: {error}") from None


def _edit(path: str, change: _Change, *, create: bool) -> None:
    """Replace the file by a changed one. Raises `AccessFileError` or `OSError`; then nothing has changed."""
    target = os.path.realpath(path)
    with _naming(path):
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
            _write(path, _changed(_read(descriptor), change), status)
            return True
    except FileNotFoundError:
        if not create:
            raise
    try:
        _write(path, _changed("", change), None)
    except FileExistsError:
        return False
    return True


def _changed(text: str, change: _Change) -> str:
    """Return the changed text. Raises `AccessFileError`."""
    result = change(text)
    if len(result.encode()) > MAX_BYTES:
        raise AccessFileError(_TOO_LARGE)
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
        reason = f"it belongs to user {replaced.st_uid}; run the command as that user, or as root"
        raise AccessFileError(reason) from None


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """Open the file for reading; a FIFO does not block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> str:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise AccessFileError("it is not a file")
    if status.st_mode & stat.S_IRWXO:
        raise AccessFileError("other users have permissions on it; run chmod o= on it")
    with open(descriptor, "rb", closefd=False) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise AccessFileError(_TOO_LARGE)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise AccessFileError("it is not UTF-8") from None


_TOO_LARGE = f"it is larger than {MAX_BYTES} bytes"
