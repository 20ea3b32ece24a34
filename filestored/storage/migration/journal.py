"""How far a migration has come: the file of aliases while it grows.

Lines are appended in the order of the former names, each batch in one piece and flushed. What a crash has
left of the last batch is cut off by the next `open`, at the first line that is not whole. The last
line that stays says behind which name to go on; `finish` makes the file what `aliases` describes.

It only saves work: one that cannot be read is replaced by an empty one, and all files are read again.
"""

import errno
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from filestored.digest import Algorithm, Digest
from filestored.storage.disk.aliases import CORRUPT, UNREADABLE, AliasFile, format_line, line_width
from filestored.storage.disk.directory import StoreRoot
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.disk.temp_files import TempFile
from filestored.storage.health import UNFIT

_CREATE = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LINES_AT_ONCE = 4096


class Journal:
    """The journal in the directory of aliases, open as `directory`, of the store in `root`. Blocking.

    All methods raise `OSError`.

    `last` is the former name in its last line, None while there is none, and `last_is_corrupt` whether that
    line is of a rotten file.
    """

    def __init__(
        self, root: StoreRoot, directory: int, old: Algorithm, new: Algorithm, calls: Syscalls
    ) -> None:
        self.last: Digest | None = None
        self.last_is_corrupt = False
        self._root = root
        self._directory = directory
        self._old = old
        self._new = new
        self._calls = calls
        self._width = line_width(old, new)
        self._pattern = _pattern(old, new)
        self._unfinished = f"{old.name}.unfinished"
        self._file: TempFile | None = None

    @property
    def finished(self) -> bool:
        """Whether all lines are in it, and it has its final name."""
        try:
            self._calls.stat(self._old.name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def clear(self) -> None:
        """Remove what is left of a migration that nobody knows of any more."""
        for name in (self._unfinished, self._old.name):
            with suppress(FileNotFoundError):
                self._calls.unlink(name, dir_fd=self._directory)
        self._root.flush(self._directory)

    def open(self) -> None:
        """Open it, or make it; find the last line, and cut off what is behind."""
        try:
            self._open()
        except OSError as error:
            if error.errno not in UNFIT - {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
                raise
            self.close()
            self.clear()
            self._open()

    def cut(self, count: int) -> Sequence[tuple[Digest, Digest | None]]:
        """Take the last `count` lines off, durably, and return them; none when there are no lines."""
        assert self._file is not None, "it is open"
        descriptor = self._file.descriptor
        number = self._calls.fstat(descriptor).st_size // self._width
        start = max(0, number - count)
        lines = list(AliasFile(descriptor, self._old, self._new, self._calls).part(start, number))
        self._calls.ftruncate(descriptor, self._width * start)
        self._calls.fsync(descriptor)
        return lines

    def append(self, lines: Iterable[tuple[Digest, Digest | None]]) -> None:
        """Add lines of a former and a new name, durably; see `format_line` for files without a new one."""
        assert self._file is not None, "it is open"
        data = b""
        for old, new in lines:
            data += format_line(old, new, self._width)
            self.last, self.last_is_corrupt = old, new is None
        self._file.write(data)
        self._calls.fsync(self._file.descriptor)

    def finish(self) -> None:
        """Give it its final name, durably."""
        assert self._file is not None, "it is open"
        self._file.seal()
        self._calls.rename(
            self._unfinished, self._old.name, src_dir_fd=self._directory, dst_dir_fd=self._directory
        )
        self._root.flush(self._directory)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.discard()

    def _open(self) -> None:
        descriptor = self._calls.open(self._unfinished, _CREATE, 0o600, dir_fd=self._directory)
        self._file = TempFile(descriptor, self._calls)
        self._calls.ftruncate(descriptor, self._width * self._count_lines(descriptor))

    def _count_lines(self, descriptor: int) -> int:
        count, last = 0, b""
        while piece := self._calls.pread(descriptor, _LINES_AT_ONCE * self._width, count * self._width):
            for start in range(0, len(piece), self._width):
                line = piece[start : start + self._width]
                if not (line > last and self._pattern.fullmatch(line)):
                    return self._remember(count, last)
                count, last = count + 1, line
        return self._remember(count, last)

    def _remember(self, count: int, last: bytes) -> int:
        if match := self._pattern.fullmatch(last):
            self.last = self._old.parse(match[1].decode("ascii"))
            self.last_is_corrupt = match[2].startswith(CORRUPT)
        return count


def _pattern(old: Algorithm, new: Algorithm) -> re.Pattern[bytes]:
    """A whole line."""
    first, second = 2 * old.size, 2 * new.size
    marks = re.escape(CORRUPT + UNREADABLE)
    return re.compile(rb"([0-9a-f]{%d}) ([0-9a-f]{%d}|([%b])\3{%d})\n" % (first, second, marks, second - 1))
