"""Moves a store to another algorithm: each file is read once, verified, and gets its new name.

Flow: a directory and the name of an algorithm go in, a `Summary` comes out, and a `MigrationProgress` hears
of each file. The state is on disk alone; each step leaves what the next one finds:

1. ``FORMAT`` says `moving_to`. From here on no daemon opens the store, until the last step.
2. Old names in order, in batches: read the file, compare its hash with its name, link it to its new
   name; flush the shards; only then add the batch to the journal, ``aliases/<old>.unfinished``.
   The journal is in order, so its last line says where the next run goes on.
3. The journal is whole: it becomes ``aliases/<old>`` (see `aliases`). What the last step writes is on disk
   by now, so the steps that follow need no space.
4. Old names are unlinked, each only when its new name means the same file; then shards are flushed.
5. ``FORMAT`` names the new algorithm, and the old one among its `aliases`.

At every moment each file has a durable name that this state leads to. One whose bytes do not have the
hash of its name is noted in the journal, and goes to quarantine. One that cannot be read is noted, too, and
keeps its old name, by which it can be read again once the disk allows that. Many such files in a row are a
fault of the whole disk: the run ends. So it does on every other error, and the next run goes on.

Until step 3, `abandon` takes the store back (see `undoing`), with no more space than ``FORMAT`` needs.

It is done alone (see `tenancy`): with uploads and deletes meanwhile, each step would have to ask what
they have undone of the last. How long a name is must tell its algorithm, so no store moves from sha512
to blake2b. Rejected: `rename` instead of link and unlink; what is half done then has lost the names it
could go back to.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from filestored.digest import Algorithm, Digest, algorithm
from filestored.errors import NotFound, UnknownAlgorithm, UnusableStore
from filestored.storage.disk import format_file
from filestored.storage.disk.aliases import ALIASES, open_aliases
from filestored.storage.disk.directory import (
    StoreRoot,
    check_access,
    error_context,
    open_directory,
    read_format,
)
from filestored.storage.disk.layout import make_directories
from filestored.storage.disk.locks import lock_exclusive
from filestored.storage.disk.quarantine import Quarantine
from filestored.storage.disk.shards import Shards
from filestored.storage.disk.subdirectories import Subdirectories
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.disk.temp_files import TempFiles
from filestored.storage.migration.journal import Journal
from filestored.storage.migration.relink import Relinker, Unreadable
from filestored.storage.migration.undo import Undo

BATCH_FILES = 8192
"""Files after which the journal is written: enough for a flush of every shard to be worth it."""

BATCH_BYTES = 1024 * 1024 * 1024
"""Bytes after which it is written: seconds of reading, which is what a crash costs."""

MAX_UNREADABLE_IN_A_ROW = 10
"""Files that cannot be read, one after the other, until that is a fault of the whole disk."""

_LISTED = 16384


class MigrationProgress(Protocol):
    """Somebody who is told how far it is."""

    def expect(self, files: int) -> None:
        """So many files are still to be read."""

    def read(self, size: int) -> None:
        """One of them has been, of `size` bytes."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a migration in all its runs.

    `moved` is how many files have new names, `rotten` which ones went to quarantine, and `unreadable` which
    ones keep their old names.
    """

    moved: int = 0
    rotten: tuple[Digest, ...] = ()
    unreadable: tuple[Digest, ...] = ()


def migrate(path: str, to: str, watcher: MigrationProgress, calls: Syscalls | None = None) -> Summary:
    """Move the store at `path` to the algorithm called `to`, or go on with that. Blocking.

    A store that is named by it already stays as it is. Raises `UnusableStore` with a line that says why
    not, or what went wrong, and `UnknownAlgorithm`.
    """
    calls = calls or Syscalls()
    target = algorithm(to)
    with _opened(path, calls) as (root, found, held):
        if found.hash == to and not found.moving_to:
            return Summary()
        return _Migration(root, found, _source(found, target), target, calls, held).run(watcher)


def abandon(path: str, calls: Syscalls | None = None) -> str:
    """Take the store at `path` back to the algorithm that it had, and return its name. Blocking.

    A store that is not being migrated stays as it is. Raises `UnusableStore` when the files are losing their
    old names already, or with a line that says what went wrong, and `UnknownAlgorithm`.
    """
    calls = calls or Syscalls()
    with _opened(path, calls) as (root, found, held):
        if found.moving_to:
            target = algorithm(found.moving_to)
            _Migration(root, found, _source(found, target), target, calls, held).abandon()
        return found.hash


@contextmanager
def _opened(path: str, calls: Syscalls) -> Iterator[tuple[int, format_file.StoreFormat, ExitStack]]:
    """The store at `path`, used by this process alone: its directory, its format, and what closes it."""
    with error_context(path, "store"), ExitStack() as held:
        root = open_directory(path)
        held.callback(os.close, root)
        check_access(os.fstat(root), dropping=False)
        lock_exclusive(root, calls)
        found = read_format(root, "store")
        if found is None:
            raise UnusableStore("nothing has ever been stored in it")
        yield root, found, held


def _source(found: format_file.StoreFormat, target: Algorithm) -> Algorithm:
    """The algorithm to come from. Raises `UnusableStore` when there is no way from there to `target`."""
    if found.moving_to not in (None, target.name):
        raise UnusableStore(f"its migration to {found.moving_to} is unfinished; finish that first")
    try:
        source, *former = [algorithm(name) for name in (found.hash, *found.aliases)]
    except UnknownAlgorithm as error:
        raise UnusableStore(f"its files cannot be verified: {error}") from None
    for each in (source, *former):
        if each.size == target.size:
            raise UnusableStore(
                f"names of {each.name} and {target.name} are equally long, so nobody could tell them apart"
            )
    return source


class _Migration:
    """One run, in a store that nobody else uses; what it opens is closed by `held`."""

    def __init__(
        self,
        root: int,
        found: format_file.StoreFormat,
        source: Algorithm,
        target: Algorithm,
        calls: Syscalls,
        held: ExitStack,
    ) -> None:
        make_directories(root, calls)
        self._root = StoreRoot(root, calls)
        held.callback(self._root.close)
        self._format = found
        self._source = source
        self._target = target
        self._calls = calls
        self._temp_files = TempFiles(root, calls)
        held.callback(self._temp_files.close)
        self._shards = Shards(self._root, calls)
        held.callback(self._shards.close)
        self._renaming = Relinker(self._shards, Quarantine(self._root, calls), source, target, calls)
        directory = held.enter_context(Subdirectories(self._root, calls).ensured([ALIASES]))
        self._journal = Journal(self._root, directory, source, target, calls)
        held.callback(self._journal.close)
        self._batch: list[tuple[Digest, Digest]] = []
        self._heap = 0
        self._unreadable_in_a_row = 0
        self._last = format_file.StoreFormat(target.name, found.id, (*found.aliases, source.name))

    def run(self, watcher: MigrationProgress) -> Summary:
        """Take the steps that are left."""
        if not self._format.moving_to:
            self._journal.clear()
            self._write_format(replace(self._format, moving_to=self._target.name))
        if not self._journal.finished:
            self._journal.open()
            self._link_new_names(watcher)
            format_file.prepare_replacement(self._root.descriptor, self._temp_files, self._last, self._calls)
            self._journal.finish()
        summary = self._unlink_old_names()
        self._write_format(self._last)
        return summary

    def abandon(self) -> None:
        """Remove all new names, then the journal. Raises `UnusableStore` from step 3 on."""
        if self._journal.finished:
            raise UnusableStore(
                f"its files are losing their names by {self._source.name} already; finish it with "
                f"filestored migrate STORE --to {self._target.name}"
            )
        Undo(self._shards, self._renaming, self._journal, self._source, self._target).run(BATCH_FILES)
        self._write_format(replace(self._format, moving_to=None))

    def _write_format(self, record: format_file.StoreFormat) -> None:
        format_file.replace(self._root.descriptor, self._temp_files, record, self._calls)
        self._root.flush(self._root.descriptor)
        self._format = record

    def _link_new_names(self, watcher: MigrationProgress) -> None:
        """All files behind the last line of the journal."""
        if self._journal.last and self._journal.last_is_corrupt:
            self._renaming.quarantine(self._journal.last)
        last = self._journal.last
        watcher.expect(self._count(last))
        while page := self._shards.digests(self._source, last, _LISTED):
            for last in page:
                watcher.read(self._name(last))
        self._flush_batch()

    def _name(self, old: Digest) -> int:
        """Name one file; its size in bytes, 0 for one that is gone or cannot be read."""
        try:
            new, size = self._renaming.link_new(old)
            self._unreadable_in_a_row = 0
        except NotFound:
            return 0
        except Unreadable as error:
            self._note_unreadable(error)
            new, size = old, 0
        if new is None:
            self._flush_batch()
            self._journal.append([(old, None)])
            self._renaming.quarantine(old)
            return size
        self._batch.append((old, new))
        self._heap += size
        if len(self._batch) >= BATCH_FILES or self._heap >= BATCH_BYTES:
            self._flush_batch()
        return size

    def _note_unreadable(self, error: Unreadable) -> None:
        """Count a file that cannot be read. Raises `UnusableStore` for too many of them in a row."""
        self._unreadable_in_a_row += 1
        if self._unreadable_in_a_row >= MAX_UNREADABLE_IN_A_ROW:
            raise UnusableStore(
                f"{MAX_UNREADABLE_IN_A_ROW} files in a row cannot be read, such as {error.strerror}; "
                "run it again when the disk can be read, or undo it with --abandon"
            )

    def _flush_batch(self) -> None:
        """Make the new names of the batch durable, then its lines in the journal."""
        if self._batch:
            self._shards.flush_names(new for old, new in self._batch if new != old)
            self._journal.append(self._batch)
            self._batch.clear()
            self._heap = 0

    def _unlink_old_names(self) -> Summary:
        moved, rotten, unreadable, shards = 0, [], [], {}
        aliases = open_aliases(self._root, self._source, self._target, self._calls)
        try:
            for old, new in aliases.lines():
                if new is None:
                    rotten.append(old)
                elif new == old or not self._took(old, new):
                    unreadable.append(old)
                else:
                    moved += 1
                    shards[old.shard] = old
        finally:
            aliases.close()
        self._shards.flush_names(shards.values())
        return Summary(moved, tuple(rotten), tuple(unreadable))

    def _took(self, old: Digest, new: Digest) -> bool:
        """Take an old name away; False when that cannot be done, and it stays beside the new one."""
        try:
            self._renaming.unlink_old(old, new)
        except Unreadable:
            return False
        return True

    def _count(self, last: Digest | None) -> int:
        """How many files there are behind `last`."""
        count = 0
        while page := self._shards.digests(self._source, last, _LISTED):
            count += len(page)
            last = page[-1]
        return count
