"""Log rotation: compresses rotated files and removes expired ones.

loguru renames a full log file and passes its new path to `RotatedFiles.on_rotated`. A thread, one at a time,
compresses it, then removes files beyond the retention. The logging thread does not wait for that, nor does
the end of the daemon: a file left uncompressed is compressed after the next rotation.

Rejected: loguru's own retention and compression, which run in the logging thread, and fail for files that a
compressing thread has just removed.
"""

import glob
import gzip
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400, "month": 30 * 86400} | {
    "year": 365 * 86400
}
"""Seconds per unit of a retention."""

_DATED = "[0-9][0-9][0-9][0-9]-*"
_DERIVED = (".gz", ".gz.part")


@dataclass(frozen=True, slots=True)
class Retention:
    """Retention: the newest `count` files, or those younger than `seconds`; None is unlimited."""

    count: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Retention":
        """Parse ``7`` or ``10 days``. Raises `ValueError`."""
        match = re.fullmatch(r"([0-9]{1,6})(?:\s*([a-z]+?)s?)?", text.strip().lower(), re.ASCII)
        if match is None or match[2] not in (None, *UNITS):
            raise ValueError(f"{text!r} is neither a number of files nor a time such as '10 days'")
        if match[2] is None:
            return cls(count=int(match[1]))
        return cls(seconds=float(int(match[1]) * UNITS[match[2]]))

    def expired(self, ages: dict[str, float]) -> list[str]:
        """Return the files to remove; `ages` maps each to its age in seconds."""
        youngest_first = sorted(ages, key=lambda path: ages[path])
        beyond = youngest_first[self.count :] if self.count is not None else []
        return [path for path in youngest_first if path in beyond or self._too_old(ages[path])]

    def _too_old(self, age: float) -> bool:
        return self.seconds is not None and age > self.seconds


class RotatedFiles:
    """The rotated files of the log at `path`; `report_to_stderr` takes a line about what has gone wrong."""

    def __init__(self, path: str, retention: Retention, report_to_stderr: Callable[[str], None]) -> None:
        root, extension = os.path.splitext(path)
        self._pattern = f"{glob.escape(root)}.{_DATED}{glob.escape(extension)}"
        self._retention = retention
        self._report = report_to_stderr
        self._lock = threading.Lock()

    def on_rotated(self, path: str) -> None:
        """Compress and prune in a thread, after the log was renamed to `path`. Returns at once."""
        threading.Thread(target=self._compress_and_prune, name=f"rotation {path}").start()

    def _compress_and_prune(self) -> None:
        with self._lock:
            for path in self._plain():
                self._try(compress, path)
            for path in self._retention.expired(self._ages()):
                self._try(os.unlink, path)

    def _try(self, act: Callable[[str], None], path: str) -> None:
        try:
            act(path)
        except OSError as error:
            self._report(f"a rotated log file could not be compressed or removed: {error}")

    def _plain(self) -> list[str]:
        """Return uncompressed files, except those whose compressed name exists."""
        found = sorted(glob.glob(self._pattern))
        return [path for path in found if not (path.endswith(_DERIVED) or os.path.exists(f"{path}.gz"))]

    def _ages(self) -> dict[str, float]:
        now = time.time()
        paths = glob.glob(self._pattern) + glob.glob(f"{self._pattern}.gz")
        return {path: now - os.path.getmtime(path) for path in paths if os.path.isfile(path)}


def compress(path: str) -> None:
    """Compress a file to ``path.gz``. One of the two is complete at any time. Raises `OSError`."""
    part = f"{path}.gz.part"
    try:
        with open(path, "rb") as plain, gzip.open(part, "wb", compresslevel=6) as packed:
            shutil.copyfileobj(plain, packed)
        shutil.copystat(path, part)
        os.link(part, f"{path}.gz")  # unlike a rename, never replaces a file
        os.unlink(path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
