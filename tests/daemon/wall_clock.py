"""A wall clock of its own for a daemon, which a test sets forward and back (libfaketime)."""

import os
import subprocess

HOUR = 3600


class WallClock:
    """The wall clock of all processes that are started with `environment`; the monotonic clock stays true."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "wallclock")
        self.set(0)
        library = subprocess.run(
            ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
        )
        self.environment = {
            "LD_PRELOAD": library.stdout.strip(),
            "FAKETIME_TIMESTAMP_FILE": self._path,
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds: int) -> None:
        """Let the clock go wrong by so many seconds from now on."""
        with open(self._path + ".new", "w", encoding="ascii") as file:
            file.write(f"{seconds:+d}\n")
        os.replace(self._path + ".new", self._path)
