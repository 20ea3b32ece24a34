"""A wall clock of its own for daemons, which a test sets forward and back (libfaketime)."""

import os
import subprocess
from types import TracebackType

HOUR = 3600
DAY = 24 * HOUR
_ATTEMPTS = 20


class WallClock:
    """The wall clock of all processes started with `environment`.

    The monotonic clock and the dates of files stay true. libfaketime keeps a semaphore and shared memory,
    which it names by its process and leaves behind when that process is killed; a later process of the same
    number then ends at once. So one ``faketime``, which lives as long as the clock, makes them for all and
    removes them at its end. It is started anew where the name is taken.
    """

    def __init__(self, directory: str, seconds: int = 0) -> None:
        self._path = os.path.join(directory, "wallclock")
        self.set(seconds)
        library, shared = self._start()
        self.environment = {
            "LD_PRELOAD": library,
            "FAKETIME_SHARED": shared,
            "FAKETIME_TIMESTAMP_FILE": self._path,
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def _start(self) -> tuple[str, str]:
        """Start ``faketime``; the path of its library, and the names of what its processes share."""
        show = ["sh", "-c", "printenv LD_PRELOAD FAKETIME_SHARED; exec cat"]
        for _ in range(_ATTEMPTS):
            self._process = subprocess.Popen(
                ["faketime", "-f", "+0", *show], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self._process.stdout is not None
            names = self._process.stdout.readline().strip(), self._process.stdout.readline().strip()
            if all(names):
                return names
            self.close()
        raise AssertionError(f"faketime does not start in {_ATTEMPTS} attempts")

    def set(self, seconds: int) -> None:
        """Let the clock go wrong by so many seconds from now on."""
        with open(self._path + ".new", "w", encoding="ascii") as file:
            file.write(f"{seconds:+d}\n")
        os.replace(self._path + ".new", self._path)

    def close(self) -> None:
        """End ``faketime``, which removes what it shares; no daemon may start with this clock afterwards."""
        self._process.communicate()

    def __enter__(self) -> "WallClock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
