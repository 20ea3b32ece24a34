"""filestored: a real twistd, SHA-256, each upload durable before the answer."""

import os
import sys
from typing import ClassVar

from bench.servers.base import Server, free_port, program
from bench.upload_client import Target

CONNECTIONS = 10_500
"""Limit of connections: the idle ones, and some."""

UPLOADS = 512
"""Limit of uploads: with the default of 64 the rest of 256 would be answered 503."""


class Filestored(Server):
    """``twistd filestored``, with `workers` processes; logs to a file, which stays empty."""

    name: str = "filestored"
    omits: ClassVar[str] = "Hashes with SHA-256, flushes bytes and name, then answers."
    ours: ClassVar[bool] = True
    options: tuple[str, ...] = ()

    def start(self) -> None:
        """Start twistd."""
        self.port = free_port()
        self.run(
            *(sys.executable, program("twistd") or "twistd", "-n", "--pidfile=", "filestored"),
            *("--listen", self.endpoint(), "--store", self.store, "--hash", "sha256"),
            *("--workers", str(self.workers), "--max-connections", str(CONNECTIONS)),
            *("--max-uploads", str(UPLOADS), "--log", os.path.join(self.home, "log"), *self.options),
            environment=self.environment(),
        )
        self.await_answer(self.port)

    def endpoint(self) -> str:
        """Return the address to listen on."""
        return f"tcp:{self.port}:interface=127.0.0.1"

    def environment(self) -> dict[str, str]:
        """Return the environment variables that it needs besides those of this process."""
        return {}

    def version(self) -> str:
        """The package's, with Twisted's and Python's."""
        import twisted
        from filestored import __version__

        return f"{__version__}, Twisted {twisted.__version__}, Python {sys.version.split()[0]}"

    def path(self, digest: str) -> str:
        """Return the path; ``/?file_hash=`` is the same resource."""
        return f"/files/{digest}"

    def post(self) -> tuple[str, list[str]]:
        """Return the target of a raw upload: the body is the file."""
        return "POST", ["/"]

    def target(self, form: bool, number: int) -> Target:
        """Return the target, which is the same for both kinds."""
        return Target("POST", "/", form)


class Logging(Filestored):
    """filestored with its access log on."""

    name: str = "filestored, access log"
    omits: ClassVar[str] = "As filestored, and writes a line for each request."
    options: tuple[str, ...] = ("--access-log", "access.log")


class Forms(Filestored):
    """filestored, which receives large files as forms, to be compared with raw uploads."""

    name: str = "filestored, a form"
    omits: ClassVar[str] = "As filestored, the file being the part of a form."

    def target(self, form: bool, number: int) -> Target:
        """Return the target of a form in any case."""
        return super().target(True, number)


class Workers(Filestored):
    """filestored with two workers."""

    name: str = "filestored, 2 workers"
    omits: ClassVar[str] = "As filestored, in two processes on one socket."


class TLS(Filestored):
    """filestored with TLS of its own."""

    name: str = "filestored, TLS"
    omits: ClassVar[str] = "As filestored, with TLS by OpenSSL in Python."
    tls: ClassVar[bool] = True

    def endpoint(self) -> str:
        """Return the endpoint with key and certificate."""
        key, certificate = self.certificate.key, self.certificate.certificate
        return f"ssl:{self.port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
