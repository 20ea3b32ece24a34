"""Progress of transfers: bars on a terminal if rich is installed (the extra ``cli``), else nothing."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import monotonic
from typing import Protocol, TextIO

try:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
except ImportError:
    HAS_RICH = False
else:
    HAS_RICH = True
"""Whether the extra ``cli`` is installed, which draws the bars."""

MIN_BAR_BYTES = 1 << 20
"""Minimum size of a file that has a bar of its own beside that of all files."""

MIN_UPDATE_SECONDS = 0.1
"""Minimum time between two updates of a bar. An update takes 20 µs, and a block of the kernel less."""

MAX_NAME_LENGTH = 30
"""Maximum number of characters of a name beside a bar."""


class Transfer(Protocol):
    """Progress of one file."""

    def expect(self, size: int) -> None:
        """Set the total number of bytes."""

    def advance(self, size: int) -> None:
        """Count bytes."""

    def restart(self) -> None:
        """Count from zero again."""


class TransferProgress(Protocol):
    """Progress of several files."""

    def transfer(self, name: str) -> AbstractContextManager[Transfer]:
        """Return the progress of a file, from the beginning to the end of the context."""

    def print_above(self, line: str, stream: TextIO) -> None:
        """Write a line to stdout or stderr; on a terminal above the bars."""


@contextmanager
def transfer_progress(files: int, total: int | None) -> Iterator[TransferProgress]:
    """Yield bars on stderr if it is a terminal, else `NoProgress`; `total` is the size of several files."""
    if not (HAS_RICH and sys.stderr.isatty()):
        yield NoProgress()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        yield TransferBars(progress, files, total)


class NoProgress:
    """Shows no progress."""

    def transfer(self, name: str) -> AbstractContextManager[Transfer]:
        """Return the progress of a file, which is not shown."""
        return nullcontext(self)

    def print_above(self, line: str, stream: TextIO) -> None:
        """Write a line."""
        stream.write(f"{_printable(line) if stream.isatty() else line}\n")
        stream.flush()

    def expect(self, size: int) -> None:
        """Nothing to do."""

    def advance(self, size: int) -> None:
        """Nothing to do."""

    def restart(self) -> None:
        """Nothing to do."""


class TransferBars:
    """Bars of rich: one for each large file, and one for all if there are several."""

    def __init__(self, progress: "Progress", files: int, total: int | None) -> None:
        self._progress = progress
        self._console = progress.console
        self._single = files == 1
        self._task = None if self._single else progress.add_task(f"{files} files", total=total)

    @contextmanager
    def transfer(self, name: str) -> Iterator[Transfer]:
        """Yield the bar of a file."""
        bar = TransferBar(self, _short(name))
        try:
            if self._single:
                bar.show()
            yield bar
        finally:
            bar.end(keep=self._single)

    def print_above(self, line: str, stream: TextIO) -> None:
        """Write a line; on a terminal above the bars."""
        if stream.isatty():
            self._console.print(_printable(line), soft_wrap=True, markup=False, highlight=False, emoji=False)
        else:
            stream.write(f"{line}\n")
            stream.flush()

    def add(self, name: str) -> int:
        """Add a bar; return its number."""
        return self._progress.add_task(name, total=None)

    def update(self, task: int, size: int, total: int | None) -> None:
        """Set the bar of a file."""
        self._progress.update(task, completed=size, total=total)  # type: ignore[arg-type]  # a TaskID is an int

    def count(self, size: int) -> None:
        """Count bytes in the bar of all files."""
        if self._task is not None:
            self._progress.advance(self._task, size)

    def remove(self, task: int) -> None:
        """Remove a bar."""
        self._progress.remove_task(task)  # type: ignore[arg-type]  # likewise


class TransferBar:
    """The bar of one file."""

    def __init__(self, bars: TransferBars, name: str) -> None:
        self._bars = bars
        self._name = name
        self._task: int | None = None
        self._total: int | None = None
        self._size = 0
        self._shown = 0
        self._shown_at = 0.0

    def show(self) -> None:
        """Show the bar."""
        if self._task is None:
            self._task = self._bars.add(self._name)

    def expect(self, size: int) -> None:
        """Set the total number of bytes; show the bar of a large file."""
        self._total = size
        if size >= MIN_BAR_BYTES:
            self.show()

    def advance(self, size: int) -> None:
        """Count bytes."""
        self._size += size
        if monotonic() - self._shown_at >= MIN_UPDATE_SECONDS:
            self._update()

    def restart(self) -> None:
        """Count from zero again."""
        self.advance(-self._size)

    def end(self, *, keep: bool) -> None:
        """Show the last size; remove the bar unless it is kept."""
        self._update()
        if self._task is not None and not keep:
            self._bars.remove(self._task)

    def _update(self) -> None:
        self._bars.count(self._size - self._shown)
        self._shown, self._shown_at = self._size, monotonic()
        if self._task is not None:
            self._bars.update(self._task, self._size, self._total)


def _short(name: str) -> str:
    """Return a name that fits beside a bar."""
    line = _printable(name)
    return line if len(line) <= MAX_NAME_LENGTH else f"…{line[1 - MAX_NAME_LENGTH :]}"


def _printable(line: str) -> str:
    """Return a line without control characters, which may be commands to a terminal."""
    return "".join(character if character.isprintable() else "?" for character in line)
