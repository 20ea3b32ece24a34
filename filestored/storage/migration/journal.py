"""Journal of a migration: the file of aliases while it grows.

Batches of lines are appended in the order of former digests, and flushed. `open` cuts the file at the first
incomplete line, which a crash may leave. The last line tells where to continue; `finish` renames the journal
to the file of aliases.

An unreadable journal is replaced by an empty one: it only saves work, and all files are read again.
"""

import errno
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from filestored.digest import Algorithm, Digest
from filestored.storage.disk.aliases import CORRUPT, UNREADABLE, AliasFile, format_line, line_width
from filestored.storage.disk.directory import StoreRoot
from filestored.storage.disk.syscalls import Syscalls, closed_after
from filestored.storage.disk.temp_files import TempFile
from filestored.storage.health import UNFIT

_CREATE = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINES_AT_ONCE = 4096


class Journal:
    """The journal in the directory of aliases, which is open as `directory`. Blocking; raises `OSError`.

    `last` is the former digest in the last line, or None; `last_is_corrupt` if that line marks a corrupt
    file.
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
        """True once it is complete and has its final name."""
        try:
            self._calls.stat(self._old.name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def clear(self) -> None:
        """Remove the journal of an earlier migration."""
        for name in (self._unfinished, self._old.name):
            with suppress(FileNotFoundError):
                self._calls.unlink(name, dir_fd=self._directory)
        self._root.flush(self._directory)

    def open(self) -> None:
        """Open or create the journal; cut it after the last complete line."""
        try:
            self._open()
        except OSError as error:
            if error.errno not in UNFIT - {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
                raise
            self.close()
            self.clear()
            self._open()

    def cut(self, count: int) -> Sequence[tuple[Digest, Digest | None]]:
        """Cut and return the last `count` lines, durably; empty without lines."""
        assert self._file is not None, "it is open"
        descriptor = self._file.descriptor
        number = self._calls.fstat(descriptor).st_size // self._width
        start = max(0, number - count)
        lines = list(AliasFile(descriptor, self._old, self._new, self._calls).lines(start))
        self._calls.ftruncate(descriptor, self._width * start)
        self._calls.fsync(descriptor)
        return lines

    def append(self, lines: Iterable[tuple[Digest, Digest | None]]) -> None:
        """Append lines of a former and a new digest, durably; see `format_line`."""
        assert self._file is not None, "it is open"
        data = b""
        for old, new in lines:
            data += format_line(old, new, self._width)
            self.last, self.last_is_corrupt = old, new is None
        self._file.write(data)
        self._calls.fsync(self._file.descriptor)

    def finish(self) -> None:
        """Rename it to its final name, durably."""
        assert self._file is not None, "it is open"
        self._file.seal()
        self._calls.rename(
            self._unfinished, self._old.name, src_dir_fd=self._directory, dst_dir_fd=self._directory
        )
        self._root.flush(self._directory)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.discard()

    def _open(self) -> None:
        descriptor = self._open_file()
        self._file = TempFile(descriptor, self._calls)
        self._calls.ftruncate(descriptor, self._width * self._count_lines(descriptor))

    def _open_file(self) -> int:
        try:
            return self._calls.open(self._unfinished, _CREATE, 0o600, dir_fd=self._directory)
        except PermissionError:  # read-only, because `finish` was interrupted
            descriptor = self._calls.open(self._unfinished, _READ, dir_fd=self._directory)
            with closed_after(descriptor):
                self._calls.fchmod(descriptor, 0o600)
            return self._calls.open(self._unfinished, _CREATE, 0o600, dir_fd=self._directory)

    def _count_lines(self, descriptor: int) -> int:
        count, last = 0, b""
        while piece := self._calls.pread(descriptor, _LINES_AT_ONCE * self._width, count * self._width):
            for start in range(0, len(piece), self._width):
                line = piece[start : start + self._width]
                if not (line > last and self._pattern.fullmatch(line)):
                    return self._set_last(count, last)
                count, last = count + 1, line
        return self._set_last(count, last)

    def _set_last(self, count: int, last: bytes) -> int:
        if match := self._pattern.fullmatch(last):
            self.last = self._old.parse(match[1].decode("ascii"))
            self.last_is_corrupt = match[2].startswith(CORRUPT)
        return count


def _pattern(old: Algorithm, new: Algorithm) -> re.Pattern[bytes]:
    """Return the pattern of a complete line."""
    first, second = 2 * old.size, 2 * new.size
    marks = re.escape(CORRUPT + UNREADABLE)
    return re.compile(rb"([0-9a-f]{%d}) ([0-9a-f]{%d}|([%b])\3{%d})\n" % (first, second, marks, second - 1))
