"""Rotated log files: their names, compression, and removal of expired ones.

`LogFile` renames a full log file and calls `RotatedFiles.on_rotated`. A thread, one at a time, compresses
it, then removes files beyond the retention. The writing thread does not wait for that, nor does the end of
the daemon: a file left uncompressed is compressed after the next rotation.

Only regular files whose names are exactly those of `RotatedFiles.free_name` are read or removed, and no
symbolic link is followed. Several processes may compress and remove at once.
"""

import errno
import fcntl
import gzip
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime

from filestored.logs.file_lock import lock
from filestored.logs.rotation_schedule import SECONDS

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}_[0-9]{6}(?:\\.[0-9]{1,9})?"
"""Pattern of the part of a name that `RotatedFiles.free_name` adds."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Retention: the newest `count` files, or those younger than `seconds`; None is unlimited."""

    count: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Retention":
        """Parse ``7`` or ``10 days``. Raises `ValueError`."""
        match = re.fullmatch(r"([0-9]{1,6})(?:\s*([a-z]+))?", text.strip().lower(), re.ASCII)
        if match is None or match[2] not in (None, *SECONDS):
            raise ValueError(f"{text!r} is neither a number of files nor a time such as '10 days'")
        if match[2] is None:
            return cls(count=int(match[1]))
        return cls(seconds=float(int(match[1]) * SECONDS[match[2]]))

    def expired(self, ages: dict[str, float]) -> list[str]:
        """Return the files to remove; `ages` maps each to its age in seconds."""
        youngest_first = sorted(ages, key=lambda path: ages[path])
        beyond = youngest_first[self.count :] if self.count is not None else []
        return [path for path in youngest_first if path in beyond or self._too_old(ages[path])]

    def _too_old(self, age: float) -> bool:
        return self.seconds is not None and age > self.seconds


class RotatedFiles:
    """The rotated files of the log at `path`; `report` takes a line about what has gone wrong."""

    def __init__(self, path: str, retention: Retention, report: Callable[[str], None]) -> None:
        self._root, self._extension = os.path.splitext(path)
        self._directory = os.path.dirname(path) or "."
        root, extension = re.escape(os.path.basename(self._root)), re.escape(self._extension)
        self._plain_name = re.compile(f"{root}\\.{_DATE}{extension}")
        self._retention = retention
        self._report = report
        self._lock = threading.Lock()

    def free_name(self, began: float) -> str:
        """Return an unused path for a log file that began at this time since the epoch."""
        date = datetime.fromtimestamp(began).strftime("%Y-%m-%d_%H-%M-%S_%f")
        path = f"{self._root}.{date}{self._extension}"
        number = 1
        while os.path.lexists(path) or os.path.lexists(f"{path}.gz"):
            number += 1
            path = f"{self._root}.{date}.{number}{self._extension}"
        return path

    def on_rotated(self) -> None:
        """Compress and prune in a thread, after the log was renamed. Returns at once."""
        thread = threading.Thread(target=self._compress_and_prune, name=f"rotation {self._root}")
        with suppress(RuntimeError):  # no thread can be started: the next rotation compresses the file
            thread.start()

    def _compress_and_prune(self) -> None:
        with self._lock:
            for part in self._found(".gz.part"):
                if not os.path.lexists(part.removesuffix(".gz.part")):
                    self._try(os.unlink, part)
            for path in self._found(""):
                if not os.path.lexists(f"{path}.gz"):
                    self._try(compress, path)
            for path in self._expired():
                self._try(os.unlink, path)

    def _try(self, act: Callable[[str], None], path: str) -> None:
        try:
            act(path)
        except FileNotFoundError:
            return  # another process was faster
        except OSError as error:
            self._report(f"a rotated log file could not be compressed or removed: {error}")

    def _found(self, suffix: str) -> list[str]:
        """Return the paths of regular files with a name of `free_name` and this suffix, in order."""
        try:
            with os.scandir(self._directory) as entries:
                names = [each.name for each in entries if each.is_file(follow_symlinks=False)]
        except OSError as error:
            self._report(f"rotated log files could not be listed: {error}")
            return []
        return sorted(
            os.path.join(self._directory, name)
            for name in names
            if name.endswith(suffix) and self._plain_name.fullmatch(name.removesuffix(suffix))
        )

    def _expired(self) -> list[str]:
        """Return the files to remove. A rotated file counts once while a process compresses it."""
        names = {path: path for path in self._found("")}
        names |= {path: path.removesuffix(".gz") for path in self._found(".gz")}
        ages, now = {}, time.time()
        for path, name in names.items():
            with suppress(FileNotFoundError):
                ages[name] = now - os.lstat(path).st_mtime
        expired = set(self._retention.expired(ages))
        return [path for path, name in names.items() if name in expired]


def compress(path: str) -> None:
    """Compress a file to ``path.gz``. One of the two is complete at any time. Raises `OSError`.

    Does nothing while another process compresses the file or writes to it.
    """
    part = f"{path}.gz.part"
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with (
        open(os.open(path, os.O_RDONLY | flags), "rb") as plain,
        open(os.open(part, os.O_RDWR | os.O_CREAT | flags, 0o600), "r+b") as output,
    ):
        if not _is_owned(output.fileno(), part):
            return
        try:
            if not _is_quiet(plain.fileno()):
                return
            output.truncate()
            with closing(gzip.GzipFile("", "wb", 6, output)) as packed:
                shutil.copyfileobj(plain, packed)
            if os.fstat(plain.fileno()).st_size != plain.tell():
                return  # it has grown by a write without a lock
            output.flush()
            shutil.copystat(path, part, follow_symlinks=False)
            if os.path.lexists(f"{path}.gz"):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), f"{path}.gz")
            os.rename(part, f"{path}.gz")
            os.unlink(path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)


def _is_owned(descriptor: int, path: str) -> bool:
    """Lock the partial file; return False if another process has it. Raises `OSError` for a foreign file."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(found, os.lstat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


def _is_quiet(descriptor: int) -> bool:
    """Lock a renamed file against writes to it; return False if another process keeps it locked."""
    try:
        return lock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return True  # no locks, or none of a file that is open for reading, as on NFS
