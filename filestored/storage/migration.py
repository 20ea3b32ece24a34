"""Moves a store to another algorithm: each file is read once, verified, and gets its new name.

Flow: a directory and the name of an algorithm go in, a `Summary` comes out, and a `Watcher` hears of
each file. The state is on disk alone; each step leaves what the next one finds:

1. ``FORMAT`` says `moving_to`. From here on no daemon opens the store, until the last step.
2. Old names in order, in batches: read the file, compare its hash with its name, link it to its new
   name; flush the shards; only then add the batch to the journal, ``aliases/<old>.unfinished``.
   The journal is in order, so its last line says where the next run goes on.
3. The journal is whole: it becomes ``aliases/<old>`` (see `aliases`).
4. Old names are unlinked, each only when its new name means the same file; then shards are flushed.
5. ``FORMAT`` names the new algorithm, and the old one among its `aliases`.

At every moment each file has a durable name that this state leads to. One whose bytes do not have the
hash of its name is noted in the journal, and goes to quarantine. An error of the disk ends the run
and moves nothing: one loose cable must not carry a whole store into quarantine.

It is done alone (see `tenancy`): with uploads and deletes meanwhile, each step would have to ask what
they have undone of the last. How long a name is must tell its algorithm, so no store moves from sha512
to blake2b. Rejected: `rename` instead of link and unlink; what is half done then has lost the names it
could go back to.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol

from filestored.digest import Algorithm, Digest, algorithm
from filestored.errors import UnknownAlgorithm, UnusableStore
from filestored.storage import format as formats
from filestored.storage.aliases import ALIASES, open_aliases
from filestored.storage.calls import Calls
from filestored.storage.folders import Folders
from filestored.storage.journal import Journal
from filestored.storage.layout import make_rooms
from filestored.storage.premises import check_access, explained, open_directory, read_format
from filestored.storage.quarantine import Quarantine
from filestored.storage.renaming import Renaming
from filestored.storage.root import StoreRoot
from filestored.storage.scratch import Workshop
from filestored.storage.shards import Shards
from filestored.storage.tenancy import take_alone

BATCH = 8192
"""Files after which the journal is written: enough for a flush of every shard to be worth it."""

HEAP = 1024 * 1024 * 1024
"""Bytes after which it is written: seconds of reading, which is what a crash costs."""

_LISTED = 16384


class Watcher(Protocol):
    """Somebody who is told how far it is."""

    def expect(self, files: int) -> None:
        """So many files are still to be read."""

    def read(self, size: int) -> None:
        """One of them has been, of `size` bytes."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a migration came to in all its runs: how many files have new names, and which had rotted."""

    moved: int = 0
    rotten: tuple[Digest, ...] = ()


def migrate(path: str, to: str, watcher: Watcher, calls: Calls | None = None) -> Summary:
    """Move the store at `path` to the algorithm called `to`, or go on with that. Blocking.

    A store that is named by it already stays as it is. Raises `UnusableStore` with a line that says why
    not, or what went wrong, and `UnknownAlgorithm`.
    """
    calls = calls or Calls()
    target = algorithm(to)
    with explained(path, "store"), ExitStack() as held:
        root = open_directory(path)
        held.callback(os.close, root)
        check_access(os.fstat(root), shedding=False)
        take_alone(root, calls)
        found = read_format(root, "store")
        if found is None:
            raise UnusableStore("nothing has ever been stored in it")
        if found.hash == to and not found.moving_to:
            return Summary()
        return _Migration(root, found, _source(found, target), target, calls, held).run(watcher)


def _source(found: formats.Format, target: Algorithm) -> Algorithm:
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
        found: formats.Format,
        source: Algorithm,
        target: Algorithm,
        calls: Calls,
        held: ExitStack,
    ) -> None:
        make_rooms(root, calls)
        self._root = StoreRoot(root, calls)
        held.callback(self._root.close)
        self._format = found
        self._source = source
        self._target = target
        self._calls = calls
        self._workshop = Workshop(root, calls)
        held.callback(self._workshop.close)
        self._shards = Shards(self._root, calls)
        held.callback(self._shards.close)
        self._renaming = Renaming(self._shards, Quarantine(self._root, calls), source, target, calls)
        directory = held.enter_context(Folders(self._root, calls).made([ALIASES]))
        self._journal = Journal(self._root, directory, source, target, calls)
        held.callback(self._journal.close)
        self._batch: list[tuple[Digest, Digest]] = []
        self._heap = 0

    def run(self, watcher: Watcher) -> Summary:
        """Take the steps that are left."""
        if not self._format.moving_to:
            self._journal.clear()
            self._say(replace(self._format, moving_to=self._target.name))
        if not self._journal.finished:
            self._journal.open()
            self._name_files(watcher)
            self._journal.finish()
        summary = self._take_old_names()
        aliases = (*self._format.aliases, self._source.name)
        self._say(formats.Format(self._target.name, self._format.id, aliases))
        return summary

    def _say(self, record: formats.Format) -> None:
        formats.replace(self._root.descriptor, self._workshop, record, self._calls)
        self._root.flush(self._root.descriptor)
        self._format = record

    def _name_files(self, watcher: Watcher) -> None:
        """All files behind the last line of the journal."""
        if self._journal.last and self._journal.last_is_rotten:
            self._renaming.set_aside(self._journal.last)
        last = self._journal.last
        watcher.expect(self._count(last))
        while page := self._shards.digests(self._source, last, _LISTED):
            for last in page:
                watcher.read(self._name(last))
        self._note()

    def _name(self, old: Digest) -> int:
        """Name one file; its size in bytes."""
        new, size = self._renaming.give(old)
        if new is None:
            self._note()
            self._journal.append([(old, None)])
            self._renaming.set_aside(old)
            return size
        self._batch.append((old, new))
        self._heap += size
        if len(self._batch) >= BATCH or self._heap >= HEAP:
            self._note()
        return size

    def _note(self) -> None:
        """Make the new names of the batch durable, then its lines in the journal."""
        if self._batch:
            self._shards.settle(new for _, new in self._batch)
            self._journal.append(self._batch)
            self._batch.clear()
            self._heap = 0

    def _take_old_names(self) -> Summary:
        moved, rotten, shards = 0, [], {}
        aliases = open_aliases(self._root, self._source, self._target, self._calls)
        try:
            for old, new in aliases.lines():
                if new is None:
                    rotten.append(old)
                    continue
                self._renaming.take(old, new)
                moved += 1
                shards[old.shard] = old
        finally:
            aliases.close()
        self._shards.settle(shards.values())
        return Summary(moved, tuple(rotten))

    def _count(self, last: Digest | None) -> int:
        """How many files there are behind `last`."""
        count = 0
        while page := self._shards.digests(self._source, last, _LISTED):
            count += len(page)
            last = page[-1]
        return count
