"""The 256 directories that files rest in, held open from start to end, and what they list.

A shard is named by the first digits of the digests in it. Whatever is done to a file is done in an
open shard, by its bare name: no path that anybody could bend. And a flush of a shard that fails is
told to every process that had it open by then, so no other worker can take the next, empty flush
for a success.
"""

import os
from collections.abc import Iterable

from filestored.digest import Algorithm, Digest
from filestored.errors import MalformedDigest, UnusableStore
from filestored.storage.calls import Calls
from filestored.storage.root import StoreRoot
from filestored.storage.scratch import DIRECTORY

NAMES = tuple(f"{number:02x}" for number in range(256))
"""The names of the directories."""


class Shards:
    """The shards of the store in `root`, which stays open longer than they do. Blocking.

    `descriptors` has each by its name. Raises `UnusableStore` when one is not a directory of the
    same file system, or cannot be opened.
    """

    def __init__(self, root: StoreRoot, calls: Calls) -> None:
        self._root = root
        self._calls = calls
        self.descriptors: dict[str, int] = {}
        try:
            self._open(root.descriptor)
        except BaseException:
            self.close()
            raise

    def settle(self, digests: Iterable[Digest]) -> None:
        """Flush the shard of each digest once, as `StoreRoot.flush` does. Raises `OSError`."""
        names = sorted({digest.shard for digest in digests})
        self._root.flush(*(self.descriptors[name] for name in names))

    def digests(self, algorithm: Algorithm, after: Digest | None, limit: int) -> list[Digest]:
        """At most `limit` names, in order and behind `after`, of regular files named by `algorithm`."""
        found: list[Digest] = []
        first = after.shard if after else NAMES[0]
        for name in NAMES[NAMES.index(first) :]:
            listed = self._list(name, algorithm)
            found += sorted((digest for digest in listed if not after or digest.hex > after.hex), key=str)
            if len(found) >= limit:
                break
        return found[:limit]

    def close(self) -> None:
        """Let go of the directories."""
        for descriptor in self.descriptors.values():
            os.close(descriptor)
        self.descriptors.clear()

    def _open(self, root: int) -> None:
        device = os.fstat(root).st_dev
        for name in NAMES:
            self.descriptors[name] = shard = self._open_one(name, root)
            if os.fstat(shard).st_dev != device:
                raise UnusableStore(f"it spans file systems: {name} is on another one")

    def _open_one(self, name: str, root: int) -> int:
        try:
            return self._calls.open(name, DIRECTORY, dir_fd=root)
        except OSError as error:
            raise UnusableStore(f"its directory {name} cannot be opened: {error.strerror}") from error

    def _list(self, shard: str, algorithm: Algorithm) -> list[Digest]:
        """What one shard holds; read through a descriptor of its own, which has its own position."""
        descriptor = self._calls.open(".", DIRECTORY, dir_fd=self.descriptors[shard])
        try:
            with self._calls.scandir(descriptor) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        finally:
            os.close(descriptor)
        return [digest for name in names if (digest := _parse(name, algorithm)) and digest.shard == shard]


def _parse(name: str, algorithm: Algorithm) -> Digest | None:
    try:
        return algorithm.parse(name)
    except MalformedDigest:
        return None
