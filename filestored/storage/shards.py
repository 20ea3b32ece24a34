"""The 256 directories that files rest in, held open from start to end, and what they list.

A shard is named by the first digits of the digests in it. Whatever is done to a file is done in an
open shard, by its bare name: no path that anybody could bend. And a flush of a shard that fails is
told to every process that had it open by then, so no other worker can take the next, empty flush
for a success.

A shard may be removed while it is open, as by ``find store -type d -empty -delete``, or replaced when it is
restored from a copy. Whoever finds something missing in it has it compared with what its name means now, and
opened again; an upload also has it made anew. `dup2(2)` keeps the number of the descriptor, so a thread that
uses it meanwhile gets one directory or the other.
"""

import errno
import os
import stat
from collections.abc import Iterable

from twisted.logger import Logger

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

    _log = Logger()

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

    def reopen(self, name: str) -> bool:
        """Open a shard again if its name means another directory by now; returns whether that was so.

        Raises `StoreMissing` when the whole store was removed, or `OSError`.
        """
        held, root = self.descriptors[name], self._root.descriptor
        try:
            now = self._calls.stat(name, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            self._root.check()
            return False
        if os.path.samestat(now, self._calls.fstat(held)):
            return False
        replacement = self._calls.open(name, DIRECTORY, dir_fd=root)
        try:
            if self._calls.fstat(replacement).st_dev != self._calls.fstat(root).st_dev:
                raise OSError(errno.EXDEV, f"the directory {name} is on another file system")
            os.dup2(replacement, held, inheritable=False)
        finally:
            os.close(replacement)
        self._log.warn("the directory {name} of the store was replaced and is open again", name=name)
        return True

    def restore(self, name: str) -> bool:
        """As `reopen`; a shard that was removed is made anew before, durably."""
        if self.reopen(name):
            return True
        self._root.make(name)
        return self.reopen(name)

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
            self._close_to_others(name, shard)

    def _close_to_others(self, name: str, shard: int) -> None:
        """Take the right to write from all but the owner: who has it may replace files. Raises `OSError`."""
        mode = stat.S_IMODE(self._calls.fstat(shard).st_mode)
        if mode & 0o022:
            self._calls.fchmod(shard, mode & ~0o022)
            self._log.warn("others could write into {name}; that is over", name=name)

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
