"""A bar that shows how far something long has come; nothing where nobody would see it.

In: files and bytes, as a `filestored.storage.migration.Watcher` hears of them. Out: one line that moves,
on a terminal only. In a log of cron or a CI it would be a thousand lines.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from filestored.storage.migration import Watcher

try:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
except ImportError:
    RICH = False
else:
    RICH = True
"""Whether a bar can be drawn."""


@contextmanager
def watching(stream: TextIO) -> Iterator[Watcher]:
    """Somebody who draws a bar on `stream`, if that is a terminal; else somebody who keeps still."""
    if not (RICH and stream.isatty()):
        yield Silent()
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files, {task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream)) as progress:
        yield Bar(progress)


class Silent:
    """Draws nothing."""

    def expect(self, files: int) -> None:
        """Nothing to do."""

    def read(self, size: int) -> None:
        """Nothing to do."""


class Bar:
    """Moves a bar of rich by one for each file, and says how many bytes have been read."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task(decimal(0), total=None)
        self._bytes = 0

    def expect(self, files: int) -> None:
        """Draw an empty bar of that many files."""
        self._progress.update(self._task, total=files)

    def read(self, size: int) -> None:
        """Move on by one file."""
        self._bytes += size
        self._progress.update(self._task, advance=1, description=decimal(self._bytes))
