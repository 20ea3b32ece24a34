"""Undo of a migration: removes the new names from a store that keeps its algorithm.

The journal is cut from its end, batch by batch; then the new names of the cut lines are removed. The
remaining lines stay true at any time, so the migration can also be continued. Finally, new names without a
line are removed, which a crash may leave. A name is only removed from a file that also has its former name.
"""

from collections.abc import Iterator
from contextlib import suppress

from filestored.digest import Algorithm, Digest
from filestored.storage.disk.shards import SHARD_NAMES, Shards
from filestored.storage.migration.journal import Journal
from filestored.storage.migration.relink import Relinker


class Undo:
    """Removes names of `target` from files that have names of `source`. Blocking; raises `OSError`."""

    def __init__(
        self, shards: Shards, relinker: Relinker, journal: Journal, source: Algorithm, target: Algorithm
    ) -> None:
        self._shards = shards
        self._relinker = relinker
        self._journal = journal
        self._source = source
        self._target = target

    def run(self, batch: int) -> None:
        """Remove all new names, in batches of `batch` lines of the journal, then the journal."""
        self._journal.open()
        while lines := self._journal.cut(batch):
            pairs = [(old, new) for old, new in lines if new not in (None, old)]
            self._shards.flush_names(
                [new for old, new in pairs if new and self._relinker.unlink_new(old, new)]
            )
        self._unlink_unnoted()
        self._journal.clear()

    def _unlink_unnoted(self) -> None:
        """Remove new names without a line; the inode identifies the former name."""
        new_names = {self._relinker.identity(new): new for new in self._all(self._target)}
        new_names.pop(None, None)
        removed = []
        for old in self._all(self._source):
            if not new_names:
                break
            new = new_names.pop(self._relinker.identity(old), None)
            if new and self._relinker.unlink_new(old, new):
                removed.append(new)
        self._shards.flush_names(removed)

    def _all(self, own: Algorithm) -> Iterator[Digest]:
        """Yield all digests of an algorithm in no order; unreadable shards are skipped."""
        for shard in SHARD_NAMES:
            names: list[Digest] = []
            with suppress(OSError):
                names = self._shards.listed(shard, own)
            yield from names
