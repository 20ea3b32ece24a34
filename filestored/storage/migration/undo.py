"""Undo of a migration: the new names removed from a store that keeps its old algorithm.

In: the journal of an unfinished migration, and the shards. First the journal is cut from its end, batch by
batch, and then the new names of what was cut are removed: the lines that are left are true at every moment,
so the migration can also go on from there. Last come new names that no line tells of, which a crash has
left. A name is removed only from a file that can be seen to have its old name, too.
"""

from collections.abc import Iterator
from contextlib import suppress

from filestored.digest import Algorithm, Digest
from filestored.storage.disk.shards import SHARD_NAMES, Shards
from filestored.storage.migration.journal import Journal
from filestored.storage.migration.relink import Relinker


class Undo:
    """Removes the names of `target` from files that have names of `source`. Blocking; raises `OSError`."""

    def __init__(
        self, shards: Shards, renaming: Relinker, journal: Journal, source: Algorithm, target: Algorithm
    ) -> None:
        self._shards = shards
        self._renaming = renaming
        self._journal = journal
        self._source = source
        self._target = target

    def run(self, batch: int) -> None:
        """Remove all new names, then the journal, of which `batch` lines are cut at a time."""
        self._journal.open()
        while lines := self._journal.cut(batch):
            pairs = [(old, new) for old, new in lines if new not in (None, old)]
            self._shards.flush_names(
                [new for old, new in pairs if new and self._renaming.take_back(old, new)]
            )
        self._take_back_unnoted()
        self._journal.clear()

    def _take_back_unnoted(self) -> None:
        """Remove new names that no line tells of; the inode says of which old name each is."""
        new_names = {self._renaming.identity(new): new for new in self._all(self._target)}
        new_names.pop(None, None)
        removed = []
        for old in self._all(self._source):
            if not new_names:
                break
            new = new_names.pop(self._renaming.identity(old), None)
            if new and self._renaming.take_back(old, new):
                removed.append(new)
        self._shards.flush_names(removed)

    def _all(self, own: Algorithm) -> Iterator[Digest]:
        """All files named by an algorithm, in no order; a directory that cannot be read is left out."""
        for shard in SHARD_NAMES:
            names: list[Digest] = []
            with suppress(OSError):
                names = self._shards.listed(shard, own)
            yield from names
