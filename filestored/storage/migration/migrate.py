"""Migration of a store to another hash algorithm: each file is read once, verified, and gets a new name.

The state is on disk only. Each step leaves what the next one needs:

1. ``FORMAT`` gets `moving_to`. From now on no daemon opens the store, until the last step.
2. Batches of former names, in order: read the file, compare its hash with its name, link its new name; flush
   the shards; only then append the batch to the journal, ``aliases/<old>.unfinished``. Its last line tells
   where a run continues.
3. The complete journal becomes ``aliases/<old>`` (`aliases`). The replacement of ``FORMAT`` is written before
   that, so the following steps need no space.
4. Former names are unlinked, each only if its new name leads to the same file; then shards are flushed.
5. ``FORMAT`` names the new algorithm, and the former one in `aliases`.

At any time each file has a durable name. A corrupt file is noted in the journal and moved to quarantine. An
unreadable file is noted and keeps its former name. Many such files in a row are a fault of the disk: the run
ends, as for any other error, and the next run continues.

Until step 3, `abandon` reverts the migration (`undo`), with no more space than ``FORMAT`` needs.

The store is locked exclusively (`locks`): concurrent uploads and deletions would complicate each step. The
length of a digest must identify its algorithm, so sha512 cannot be migrated to blake2b.

Rejected: `rename` instead of link and unlink, which could not be reverted.
"""

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
    error_context,
    opened,
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
"""Files per batch; large enough to amortise a flush of every shard."""

BATCH_BYTES = 1024 * 1024 * 1024
"""Bytes per batch: the work lost in a crash, some seconds of reading."""

MAX_UNREADABLE_IN_A_ROW = 10
"""Unreadable files in a row after which the run ends."""

_PAGE_FILES = 16384


class MigrationProgress(Protocol):
    """Progress of a migration."""

    def expect(self, files: int) -> None:
        """Set the number of files left to read."""

    def read(self, size: int) -> None:
        """Count a file of `size` bytes as read."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a migration in all its runs.

    `moved` is the number of renamed files; `corrupt` files are in quarantine; `unreadable` files keep their
    former names.
    """

    moved: int = 0
    corrupt: tuple[Digest, ...] = ()
    unreadable: tuple[Digest, ...] = ()


def migrate(path: str, to: str, progress: MigrationProgress, calls: Syscalls | None = None) -> Summary:
    """Migrate the store at `path` to the algorithm `to`, or continue that. Blocking.

    A store that uses the algorithm already is unchanged. Raises `UnusableStore` or `UnknownAlgorithm`.
    """
    calls = calls or Syscalls()
    target = algorithm(to)
    with _opened(path, calls) as (root, found, held):
        if found.hash == to and not found.moving_to:
            return Summary()
        return _Migration(root, found, _source(found, target), target, calls, held).run(progress)


def abandon(path: str, calls: Syscalls | None = None) -> str:
    """Revert an unfinished migration of the store at `path`; return the name of its algorithm. Blocking.

    Raises `UnusableStore`, also without such a migration and from step 4 on, or `UnknownAlgorithm`.
    """
    calls = calls or Syscalls()
    with _opened(path, calls) as (root, found, held):
        if not found.moving_to:
            raise UnusableStore(f"there is no unfinished migration; the files are named by {found.hash}")
        target = algorithm(found.moving_to)
        _Migration(root, found, _source(found, target), target, calls, held).abandon()
        return found.hash


@contextmanager
def _opened(path: str, calls: Syscalls) -> Iterator[tuple[int, format_file.StoreFormat, ExitStack]]:
    """Open and lock the store at `path`; yield its directory, its format, and the stack that closes it."""
    with error_context(path, "store"), ExitStack() as held:
        root = held.enter_context(opened(path))
        lock_exclusive(root, calls)
        found = read_format(root, "store")
        if found is None:
            raise UnusableStore("nothing has ever been stored in it")
        yield root, found, held


def _source(found: format_file.StoreFormat, target: Algorithm) -> Algorithm:
    """Return the current algorithm. Raises `UnusableStore` if it cannot be migrated to `target`."""
    if found.moving_to not in (None, target.name):
        raise UnusableStore(f"its migration to {found.moving_to} is unfinished; finish that first")
    try:
        source, *former = [algorithm(name) for name in (found.hash, *found.aliases)]
    except UnknownAlgorithm as error:
        raise UnusableStore(f"its files cannot be verified: {error}") from None
    for each in (source, *former):
        if each.size == target.size:
            raise UnusableStore(
                f"hashes of {target.name} have the length of its {each.name} hashes; a new algorithm needs "
                "another length than the present and former ones"
            )
    return source


class _Migration:
    """One run in a locked store; `held` closes what it opens."""

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
        self._relinker = Relinker(self._shards, Quarantine(self._root, calls), source, target, calls)
        directory = held.enter_context(Subdirectories(self._root, calls).ensured([ALIASES]))
        self._journal = Journal(self._root, directory, source, target, calls)
        held.callback(self._journal.close)
        self._batch: list[tuple[Digest, Digest]] = []
        self._batch_bytes = 0
        self._unreadable_in_a_row = 0
        self._last = format_file.StoreFormat(target.name, found.id, (*found.aliases, source.name))

    def run(self, progress: MigrationProgress) -> Summary:
        """Run the remaining steps."""
        if not self._format.moving_to:
            self._journal.clear()
            self._write_format(replace(self._format, moving_to=self._target.name))
        if not self._journal.finished:
            self._journal.open()
            self._link_new_names(progress)
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
        Undo(self._shards, self._relinker, self._journal, self._source, self._target).run(BATCH_FILES)
        self._write_format(replace(self._format, moving_to=None))

    def _write_format(self, record: format_file.StoreFormat) -> None:
        format_file.replace(self._root.descriptor, self._temp_files, record, self._calls)
        self._root.flush(self._root.descriptor)
        self._format = record

    def _link_new_names(self, progress: MigrationProgress) -> None:
        """Link new names of all files after the last line of the journal."""
        if self._journal.last and self._journal.last_is_corrupt:
            self._relinker.quarantine(self._journal.last)
        last = self._journal.last
        progress.expect(self._count(last))
        while page := self._shards.digests(self._source, last, _PAGE_FILES):
            for last in page:
                progress.read(self._link_new_name(last))
        self._flush_batch()

    def _link_new_name(self, old: Digest) -> int:
        """Link the new name of a file; return its size in bytes, 0 if it is missing or unreadable."""
        try:
            new, size = self._relinker.link_new(old)
            self._unreadable_in_a_row = 0
        except NotFound:
            return 0
        except Unreadable as error:
            self._note_unreadable(error)
            new, size = old, 0
        if new is None:
            self._flush_batch()
            self._journal.append([(old, None)])
            self._relinker.quarantine(old)
            return size
        self._batch.append((old, new))
        self._batch_bytes += size
        if len(self._batch) >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._flush_batch()
        return size

    def _note_unreadable(self, error: Unreadable) -> None:
        """Count an unreadable file. Raises `UnusableStore` for too many in a row."""
        self._unreadable_in_a_row += 1
        if self._unreadable_in_a_row >= MAX_UNREADABLE_IN_A_ROW:
            raise UnusableStore(
                f"{MAX_UNREADABLE_IN_A_ROW} files in a row cannot be read, such as {error.strerror}; "
                "run it again when the disk can be read, or undo it with --abandon"
            )

    def _flush_batch(self) -> None:
        """Flush the new names of the batch, then append it to the journal."""
        if self._batch:
            self._shards.flush_names(new for old, new in self._batch if new != old)
            self._journal.append(self._batch)
            self._batch.clear()
            self._batch_bytes = 0

    def _unlink_old_names(self) -> Summary:
        moved, corrupt, unreadable, shards = 0, [], [], {}
        aliases = open_aliases(self._root, self._source, self._target, self._calls)
        try:
            for old, new in aliases.lines():
                if new is None:
                    corrupt.append(old)
                elif new == old or not self._unlink_old_name(old, new):
                    unreadable.append(old)
                else:
                    moved += 1
                    shards[old.shard] = old
        finally:
            aliases.close()
        self._shards.flush_names(shards.values())
        return Summary(moved, tuple(corrupt), tuple(unreadable))

    def _unlink_old_name(self, old: Digest, new: Digest) -> bool:
        """Unlink a former name; return False for an unreadable file, which keeps both names."""
        try:
            self._relinker.unlink_old(old, new)
        except Unreadable:
            return False
        return True

    def _count(self, last: Digest | None) -> int:
        """Count the files after `last`."""
        count = 0
        while page := self._shards.digests(self._source, last, _PAGE_FILES):
            count += len(page)
            last = page[-1]
        return count
