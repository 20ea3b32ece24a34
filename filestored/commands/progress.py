"""Progress bar of a migration, drawn on a terminal if rich is installed (the extra ``cli``)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from filestored.storage.migration.migrate import MigrationProgress

try:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
except ImportError:
    HAS_RICH = False
else:
    HAS_RICH = True
"""Whether the extra ``cli`` is installed, which draws the progress bar."""


@contextmanager
def progress(stream: TextIO) -> Iterator[MigrationProgress]:
    """Yield a progress bar on `stream` if it is a terminal, else `NoProgress`."""
    if not (HAS_RICH and stream.isatty()):
        yield NoProgress()
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files, {task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream)) as progress:
        yield ProgressBar(progress)


class NoProgress:
    """Shows no progress."""

    def expect(self, files: int) -> None:
        """Nothing to do."""

    def read(self, size: int) -> None:
        """Nothing to do."""


class ProgressBar:
    """A progress bar of rich: files, and bytes read."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task(decimal(0), total=None)
        self._bytes = 0

    def expect(self, files: int) -> None:
        """Set the total number of files."""
        self._progress.update(self._task, total=files)

    def read(self, size: int) -> None:
        """Count one file of `size` bytes."""
        self._bytes += size
        self._progress.update(self._task, advance=1, description=decimal(self._bytes))
