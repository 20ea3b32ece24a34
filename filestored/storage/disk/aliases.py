"""Aliases: digests of former hash algorithms, in ``aliases/<algorithm>``.

There is one text file for each former algorithm, readable with ``grep``. A line is a former digest, a space
and the digest under the next algorithm; dashes replace the latter for a corrupt file, which has no other
name, and question marks for an unreadable file, which keeps its former name. Lines are sorted and of equal
length, so a digest is found by binary search, in twenty reads for a million lines, without memory::

    5d41402abc4b2a76b9719d911017c592 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824

A line stays true whatever happens to the file: deleted, it has neither name; uploaded again, it has both. So
the file is written once; deletions and repairs ignore it.

Rejected: hard links under the former names, which a delete would have to find, and a repair to replace.
Symbolic links, which take an inode each.
"""

import errno
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

from twisted.logger import Logger

from filestored.digest import Algorithm, Digest, algorithm
from filestored.errors import MalformedDigest, NotFound, UnusableStore
from filestored.storage.disk.directory import StoreRoot
from filestored.storage.disk.subdirectories import Subdirectories
from filestored.storage.disk.syscalls import FILE_FLAGS, Syscalls
from filestored.storage.health import UNFIT, ReadFailed

ALIASES = "aliases"

CORRUPT = b"-"
"""Replaces the new digest of a corrupt file."""

UNREADABLE = b"?"
"""Replaces the new digest of an unreadable file."""


class AliasFile:
    """An open file of aliases, from digests of `old` to digests of `new`. Blocking."""

    def __init__(self, descriptor: int, old: Algorithm, new: Algorithm, calls: Syscalls) -> None:
        self.old = old
        self._new = new
        self._descriptor = descriptor
        self._calls = calls
        self._digits = 2 * old.size
        self._width = line_width(old, new)
        size = calls.fstat(descriptor).st_size
        self._count, rest = divmod(size, self._width)
        if rest:
            raise UnusableStore(f"{ALIASES}/{old.name} is damaged; restore it from a copy")

    def find(self, name: Digest) -> Digest:
        """Return the next digest of `name`; `name` itself if it was kept. Raises `NotFound` or `OSError`."""
        wanted = name.hex.encode("ascii")
        place = bisect_left(range(self._count), wanted, key=lambda number: self._line(number)[: self._digits])
        line = self._line(place) if place < self._count else b""
        found = self._new_digest(line, name) if line.startswith(wanted) else None
        if found is None:
            raise NotFound
        return found

    def lines(self, start: int = 0) -> Iterator[tuple[Digest, Digest | None]]:
        """Yield both digests of each line from `start` on, see `format_line`. Raises `OSError`."""
        for number in range(start, self._count):
            line = self._line(number)
            old = self._parse(self.old, line[: self._digits])
            yield old, self._new_digest(line, old)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def _line(self, number: int) -> bytes:
        try:
            return self._calls.pread(self._descriptor, self._width, number * self._width)
        except OSError as error:
            raise ReadFailed.of(error, f"{ALIASES}/{self.old.name}") from error

    def _new_digest(self, line: bytes, old: Digest) -> Digest | None:
        if line.endswith(UNREADABLE + b"\n"):
            return old
        return None if line.endswith(CORRUPT + b"\n") else self._parse(self._new, line[self._digits + 1 : -1])

    def _parse(self, own: Algorithm, text: bytes) -> Digest:
        try:
            return own.parse(text.decode("ascii", "replace"))
        except MalformedDigest:
            raise ReadFailed(errno.EBADMSG, f"{ALIASES}/{self.old.name} is damaged") from None


class AliasChain:
    """All aliases of the store in `root`, from its first algorithm to its `own`.

    `names` are the former algorithms in order. An unreadable file of aliases is opened again on demand; only
    its digests fail. Raises `UnusableStore` or `OSError`.
    """

    _log = Logger()

    def __init__(self, root: StoreRoot, names: Sequence[str], own: Algorithm, calls: Syscalls) -> None:
        self._own = own
        self._alias_files: dict[str, AliasFile] = {}
        pairs = list(pairwise([*map(algorithm, names), own]))
        self.algorithms = tuple(old for old, _ in pairs)
        self._openers = {old.name: partial(open_aliases, root, old, new, calls) for old, new in pairs}
        try:
            self._open_all()
        except BaseException:
            self.close()
            raise

    def resolve(self, digest: Digest) -> Digest:
        """See `IAliases.resolve`; one lookup for each later migration."""
        while digest.algorithm != self._own.name:
            if digest.algorithm not in self._openers:
                raise NotFound
            following = self._alias_file(digest.algorithm).find(digest)
            if following == digest:
                break
            digest = following
        return digest

    def close(self) -> None:
        """Close all files."""
        for step in self._alias_files.values():
            step.close()

    def _open_all(self) -> None:
        for name in self._openers:
            try:
                self._alias_file(name)
            except OSError as error:
                if error.errno not in UNFIT:
                    raise
                self._log.error(
                    "names by {name} cannot be looked up: {reason}", name=name, reason=error.strerror
                )

    def _alias_file(self, name: str) -> AliasFile:
        """Return the aliases of one algorithm; open them on demand. Raises `UnusableStore` or `OSError`."""
        step = self._alias_files.get(name)
        if step is None:
            opened = self._openers[name]()
            step = self._alias_files.setdefault(name, opened)
            if step is not opened:  # another thread was faster
                opened.close()
        return step


def open_aliases(root: StoreRoot, old: Algorithm, new: Algorithm, calls: Syscalls) -> AliasFile:
    """Open a file of aliases. Raises `UnusableStore` when it is missing or damaged, or `OSError`."""
    try:
        with Subdirectories(root, calls).opened([ALIASES]) as directory:
            descriptor = calls.open(old.name, FILE_FLAGS, dir_fd=directory)
    except FileNotFoundError:
        raise UnusableStore(f"{ALIASES}/{old.name} is missing; restore it from a copy") from None
    except OSError as error:
        raise ReadFailed.of(error, f"{ALIASES}/{old.name}") from error
    try:
        return AliasFile(descriptor, old, new, calls)
    except BaseException:
        os.close(descriptor)
        raise


def format_line(old: Digest, new: Digest | None, width: int) -> bytes:
    """Return a line of `width` bytes; `new` is None for a corrupt file, `old` for an unreadable one."""
    text = f"{old} {'' if new in (None, old) else new}"
    return text.encode("ascii").ljust(width - 1, UNREADABLE if new == old else CORRUPT) + b"\n"


def line_width(old: Algorithm, new: Algorithm) -> int:
    """Return the bytes of a line: two hexadecimal digests, a space, a line feed."""
    return 2 * old.size + 2 * new.size + 2
