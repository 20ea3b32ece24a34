"""The directory of a store: is it fit to be one, and everything that belongs in it.

`inspect` looks without touching, before a daemon is born, so that a bad choice is one clear
line to the operator. `prepare` runs in each worker: it makes what is missing, proves by a
probe that the file system keeps its promises, and removes what dead workers left. Any number
of processes may prepare the same store at once; each step is one that may be done twice.

The order decides a race: entries are listed before ``FORMAT`` is read, and ``FORMAT`` is
made before anything else. Whoever lists something and then finds no ``FORMAT`` looks at
somebody else's directory.

Owned by root while we are root is fine; as root, `inspect` accepts any owner, because the
daemon may shed its privileges to that owner before it prepares.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filestored.digest import Algorithm, algorithm
from filestored.errors import UnusableStore
from filestored.storage import format as formats
from filestored.storage.calls import Calls
from filestored.storage.quarantine import QUARANTINE
from filestored.storage.scratch import DIRECTORY, TMP, Workshop

DEFAULT_HASH = "md5"
"""The algorithm of a new store for which the operator names none."""

SHARDS = tuple(f"{number:02x}" for number in range(256))
"""The names of the directories that files rest in."""

_PROBE = ".probe-"
_ANY_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def inspect(path: str, hash_name: str | None = None) -> Algorithm:
    """The algorithm of the store at `path`, or of the one that would be made there.

    Changes nothing. `hash_name` is the one that the operator asks for, or None. Raises
    `UnusableStore` with a line that says why, or `UnknownAlgorithm`.
    """
    wanted = algorithm(hash_name or DEFAULT_HASH)
    with _explained(path):
        try:
            root = _open_directory(path)
        except FileNotFoundError:
            return wanted
        try:
            _check_access(os.fstat(root), shedding=os.geteuid() == 0)
            found = _read_format(root)
        finally:
            os.close(root)
        return _agreed(found, hash_name) if found else wanted


def prepare(path: str, hash_name: str | None = None, calls: Calls | None = None) -> Algorithm:
    """Make the directory at `path` a store that is ready to be opened; returns its algorithm.

    Blocking. Raises `UnusableStore` or `UnknownAlgorithm`.
    """
    calls = calls or Calls()
    wanted = algorithm(hash_name or DEFAULT_HASH)
    with _explained(path):
        with suppress(FileExistsError):
            calls.mkdir(path, 0o700)
        root = _open_directory(path)
        try:
            _check_access(os.fstat(root), shedding=False)
            if not _read_format(root):
                _found(root, path, wanted, calls)
            return _furnish(root, hash_name, calls)
        finally:
            os.close(root)


def _found(root: int, path: str, wanted: Algorithm, calls: Calls) -> None:
    """Make an empty directory a store: private, durable itself, and with a ``FORMAT``."""
    calls.fchmod(root, 0o700)
    _flush_parent(path, calls)
    workshop = Workshop(root, calls)
    try:
        formats.create(root, workshop, wanted.name)
    finally:
        workshop.close()


def _furnish(root: int, hash_name: str | None, calls: Calls) -> Algorithm:
    found = formats.read(root)
    assert found, "nobody takes FORMAT away"
    agreed = _agreed(found, hash_name)
    _make_rooms(root, calls)
    workshop = Workshop(root, calls)
    try:
        _probe(root, workshop, calls)
        workshop.sweep()
    finally:
        workshop.close()
    return agreed


def _flush_parent(path: str, calls: Calls) -> None:
    """Make the name of the store's own directory durable, where we may read the one above."""
    with suppress(PermissionError):
        parent = calls.open(os.path.dirname(os.path.abspath(path)), _ANY_DIRECTORY)
        try:
            calls.fsync(parent)
        finally:
            os.close(parent)


def _open_directory(path: str) -> int:
    """Open the store's directory without following a link, with a reason when that fails."""
    path = path.rstrip("/") or "/"
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        raise UnusableStore("it is a symbolic link; name the directory itself")
    if not stat.S_ISDIR(mode):
        raise UnusableStore("it is not a directory")
    return os.open(path, DIRECTORY)


def _check_access(status: os.stat_result, *, shedding: bool) -> None:
    if status.st_uid != os.geteuid() and not shedding:
        raise UnusableStore(
            f"it belongs to user {status.st_uid}, and this process runs as user {os.geteuid()}"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        raise UnusableStore(f"others may write into it (mode {mode:04o}); chmod it to 0700")


def _read_format(root: int) -> formats.Format | None:
    """The store's format; None for an empty directory. Anything else is not ours to fill."""
    strangers = [name for name in os.listdir(root) if not name.startswith(".") and name != TMP]
    found = formats.read(root)
    if strangers and not found:
        raise UnusableStore(f"it is not empty and has no {formats.NAME} file, so it is no store")
    return found


def _agreed(found: formats.Format, hash_name: str | None) -> Algorithm:
    if hash_name not in (None, found.hash):
        raise UnusableStore(f"its files are named by {found.hash}, not by {hash_name} as --hash asks")
    return algorithm(found.hash)


def _make_rooms(root: int, calls: Calls) -> None:
    present = set(os.listdir(root))
    for name in (*SHARDS, QUARANTINE):
        if name not in present:
            with suppress(FileExistsError):
                calls.mkdir(name, 0o700, dir_fd=root)
    calls.fsync(root)


def _probe(root: int, workshop: Workshop, calls: Calls) -> None:
    """Go through every call an upload makes once; raises `OSError` when one does not work."""
    for name in os.listdir(root):
        if name.startswith(_PROBE):
            _remove(name, root, calls)
    name = _PROBE + secrets.token_hex(8)
    scratch = workshop.open()
    try:
        scratch.write(b"probe\n")
        scratch.seal()
        scratch.link(name, root)
        calls.fsync(root)
    finally:
        scratch.discard()
        _remove(name, root, calls)


def _remove(name: str, root: int, calls: Calls) -> None:
    """Unlink a probe; another process that starts may have been faster."""
    with suppress(FileNotFoundError):
        calls.unlink(name, dir_fd=root)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Say of which store an error speaks, and turn those of the system into one line, too."""
    try:
        yield
    except UnusableStore as error:
        raise UnusableStore(f"the store {path} cannot be used: {error}") from None
    except OSError as error:
        raise UnusableStore(f"the store {path} cannot be used: {error.strerror or error}") from error
