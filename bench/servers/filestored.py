"""filestored itself: a real twistd, SHA-256, everything durable before it is answered."""

import os
import sys
from typing import ClassVar

from bench.servers.base import Server, free_port, program
from bench.upload_client import Target

CONNECTIONS = 10_500
"""Connections at once that it is told to bear: the idle ones, and some."""

UPLOADS = 512
"""Uploads at once: with the default of 64 the rest of 256 would be told to come back."""


class Filestored(Server):
    """``twistd filestored``, with `workers` processes; logs to a file, which stays empty."""

    name: str = "filestored"
    omits: ClassVar[str] = "Hashes with SHA-256, flushes bytes and name, then answers."
    ours: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ()

    def start(self) -> None:
        """Run twistd."""
        self.port = free_port()
        self.run(
            *(sys.executable, program("twistd") or "twistd", "-n", "--pidfile=", "filestored"),
            *("--listen", f"tcp:{self.port}:interface=127.0.0.1", "--store", self.store, "--hash", "sha256"),
            *("--workers", str(self.workers), "--max-connections", str(CONNECTIONS)),
            *("--max-uploads", str(UPLOADS), "--log", os.path.join(self.home, "log"), *self.options),
        )
        self.await_answer(self.port)

    def version(self) -> str:
        """The package's, with Twisted's and Python's."""
        import twisted
        from filestored import __version__

        return f"{__version__}, Twisted {twisted.__version__}, Python {sys.version.split()[0]}"

    def path(self, digest: str) -> str:
        """By path; ``/?file_hash=`` is the same resource."""
        return f"/files/{digest}"

    def post(self) -> tuple[str, list[str]]:
        """The body is the file."""
        return "POST", ["/"]

    def target(self, form: bool, number: int) -> Target:
        """Both kinds go to the same place."""
        return Target("POST", "/", form)


class Logging(Filestored):
    """The same with its access log on."""

    name: str = "filestored, access log"
    omits: ClassVar[str] = "As filestored, and writes a line for each request."
    options: ClassVar[tuple[str, ...]] = ("--access-log", "access.log")


class Forms(Filestored):
    """The same, sent large files as forms, to be compared with itself."""

    name: str = "filestored, a form"
    omits: ClassVar[str] = "As filestored, the file being the part of a form."

    def target(self, form: bool, number: int) -> Target:
        """A form, whatever was asked for."""
        return super().target(True, number)


class Workers(Filestored):
    """The same with two workers."""

    name: str = "filestored, 2 workers"
    omits: ClassVar[str] = "As filestored, in two processes on one socket."
