"""A worker's end of the log: a pipe to its supervisor.

In: lines. Out: those of interest, each as a line of JSON. What becomes of them is the supervisor's business;
a worker therefore goes without loguru.
"""

from filestored.daemon.settings import LEVELS
from filestored.logs.lines import Line
from filestored.writing import write_all


class PipeSink:
    """Writes the lines of a worker to the pipe that its supervisor reads."""

    def __init__(self, descriptor: int, level: str) -> None:
        self._descriptor = descriptor
        self._least = LEVELS.index(level)

    def write(self, line: Line) -> None:
        """Write a line as JSON, if it is of interest."""
        if LEVELS.index(line.level) >= self._least:
            write_all(self._descriptor, line.to_json())

    def reopen(self) -> None:
        """Nothing to do: a pipe has no name."""
