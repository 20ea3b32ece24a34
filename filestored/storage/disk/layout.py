"""Layout of a store directory: check it, and create what belongs in it.

`check` changes nothing; it runs before the daemon forks, so that a bad directory is one line for the
operator. `prepare` runs in each worker: it creates what is missing, probes the system calls of an upload, and
removes stale temp files. Any number of processes may prepare a store at once; each step is idempotent.

An existing store can be opened and read on a full, read-only or damaged disk. Then `prepare` reports the
error of `repair`, its last part, which is retried later (`recovery`).

The directory is opened, and its ``FORMAT`` read, by `check`, by `prepare` and by the backend: processes and
privileges change between these, and only the lock of `locks` keeps ``FORMAT`` from changing.
"""

import os
import re
import secrets
from collections.abc import Callable
from contextlib import closing, suppress

from filestored.digest import Algorithm, algorithm
from filestored.errors import NotFound, UnusableStore
from filestored.storage.disk import format_file
from filestored.storage.disk.directory import (
    Report,
    error_context,
    flush_root,
    initialized,
    inspect,
    opened,
    tolerated,
)
from filestored.storage.disk.quarantine import QUARANTINE
from filestored.storage.disk.shards import SHARD_NAMES
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.disk.temp_files import TempFiles

DEFAULT_HASH = "sha256"
"""Default algorithm of a new store."""

Lookup = Callable[[str], Algorithm]
"""Finds an algorithm by name; raises `UnknownAlgorithm`."""

BUCKETS = "buckets"
"""Directory of the buckets besides the default one, which is the store itself."""

_BUCKET_NAME = re.compile("[a-z0-9][a-z0-9-]{0,62}", re.ASCII)

_PROBE = ".probe-"


def check(path: str, hash_name: str | None = None) -> Algorithm:
    """Return the algorithm of the store at `path`, or of a new one there. Changes nothing.

    `hash_name` is the requested algorithm, or None. Raises `UnusableStore` or `UnknownAlgorithm`.
    """
    wanted = algorithm(hash_name or DEFAULT_HASH)
    with error_context(path, "store"):
        found = inspect(path, "store")
        return check_algorithm(found, hash_name, algorithm) if found else wanted


def prepare(
    path: str,
    hash_name: str | None = None,
    calls: Syscalls | None = None,
    lookup: Lookup = algorithm,
    report: Report | None = None,
    must_exist: bool = False,
) -> Algorithm:
    """Prepare the directory at `path` as a store; return its algorithm. Blocking.

    `lookup` finds algorithms by name. `report` is called when an existing store can be read but not written
    to; with None that is an error. A store that `must_exist` is not created. Raises `UnusableStore` or
    `UnknownAlgorithm`.
    """
    calls = calls or Syscalls()
    wanted = lookup(hash_name or DEFAULT_HASH)
    with (
        error_context(path, "store"),
        initialized(path, "store", wanted.name, calls, must_exist=must_exist) as (root, found, existed),
    ):
        agreed = check_algorithm(found, hash_name, lookup)
        with tolerated(report if existed else None):
            _prepare_open(root, calls)
        return agreed


def prepare_bucket(store: str, name: str, own: Algorithm, *, create: bool) -> tuple[str, Algorithm]:
    """Prepare the directory of a bucket in the store at `store`; return its path and its algorithm. Blocking.

    `own` is the algorithm of a new one. Raises `NotFound` if there is none and it is not to be created,
    `UnusableStore` or `OSError`.
    """
    path = os.path.join(store, BUCKETS, name)
    with error_context(path, "bucket"):
        exists = has_format(path)
    if not exists:
        if os.path.lexists(path) and not os.path.isdir(path):
            raise UnusableStore(f"{path} is not a directory; remove it")
        if not create:
            raise NotFound
        with error_context(store, "store"), opened(store) as root:
            with suppress(FileExistsError):
                os.mkdir(BUCKETS, 0o700, dir_fd=root)
            flush_root(root, Syscalls())
    return path, prepare(path, None if exists else own.name, report=_ignore)


def is_bucket_name(name: str) -> bool:
    """Return whether a bucket may have this name; other entries of `BUCKETS` are none."""
    return _BUCKET_NAME.fullmatch(name) is not None


def bucket_names(store: str) -> list[str]:
    """Return the buckets in ``buckets/`` that are stores, in ascending order. Raises `OSError`."""
    found = []
    with suppress(FileNotFoundError), os.scandir(os.path.join(store, BUCKETS)) as entries:
        found = [each for each in entries if is_bucket_name(each.name) and each.is_dir(follow_symlinks=False)]
    return sorted(each.name for each in found if has_format(each.path))


def has_format(path: str) -> bool:
    """Return whether a directory has a ``FORMAT``. Raises `OSError`: unreadable is not empty."""
    try:
        os.lstat(os.path.join(path, format_file.NAME))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _ignore(error: OSError) -> None:
    """Do nothing: the bucket can be read, and the health of the store tells about its disk."""


def repair(path: str, calls: Syscalls | None = None) -> None:
    """Create what is missing in the store at `path`, and probe it. Blocking. Raises `UnusableStore`."""
    with error_context(path, "store"), opened(path) as root:
        _prepare_open(root, calls or Syscalls())


def _prepare_open(root: int, calls: Syscalls) -> None:
    make_directories(root, calls)
    with closing(TempFiles(root, calls)) as temp_files:
        _probe(root, temp_files, calls)
        temp_files.remove_stale()


def check_algorithm(found: format_file.StoreFormat, hash_name: str | None, lookup: Lookup) -> Algorithm:
    """Return the algorithm of a store, if it is `hash_name` or that is None.

    Raises `UnusableStore` or `UnknownAlgorithm`.
    """
    if found.moving_to:
        raise UnusableStore(
            f"its migration is unfinished; finish it with filestored migrate STORE --to {found.moving_to}, "
            "or undo it with --abandon instead of --to"
        )
    if hash_name not in (None, found.hash):
        raise UnusableStore(f"its files are named by {found.hash}, not by {hash_name} as --hash asks")
    for name in found.aliases:
        lookup(name)
    return lookup(found.hash)


def make_directories(root: int, calls: Syscalls) -> None:
    """Create missing directories in the store open as `root`. Raises `OSError`."""
    present = set(os.listdir(root))
    for name in (*SHARD_NAMES, QUARANTINE):
        if name not in present:
            with suppress(FileExistsError):
                calls.mkdir(name, 0o700, dir_fd=root)
    flush_root(root, calls)


def _probe(root: int, temp_files: TempFiles, calls: Syscalls) -> None:
    """Make every system call of an upload once. Raises `OSError`."""
    for name in os.listdir(root):
        if name.startswith(_PROBE):
            _remove(name, root, calls)
    name = _PROBE + secrets.token_hex(8)
    try:
        with temp_files.sealed(b"probe\n") as temp_file:
            temp_file.link(name, root)
            flush_root(root, calls)
    finally:
        _remove(name, root, calls)


def _remove(name: str, root: int, calls: Syscalls) -> None:
    """Unlink a probe, if no other process has done so."""
    with suppress(FileNotFoundError):
        calls.unlink(name, dir_fd=root)
