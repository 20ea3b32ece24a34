"""copyparty: a portable file server in Python, with its own HTTP server on threads."""

import os
import sys
from typing import ClassVar

from bench.servers.base import Server, free_port
from bench.upload_client import Target


class Copyparty(Server):
    """One process, as it recommends; uploads hashed with SHA-256, its default being SHA-512."""

    name: str = "copyparty"
    omits: ClassVar[str] = "Hashes, never flushes. The client chooses the name; one thread per connection."

    def start(self) -> None:
        """Run it with the set to read at ``/`` and a place for uploads at ``/up``."""
        self.port = free_port()
        uploads = os.path.join(self.home, "up")
        os.makedirs(uploads, exist_ok=True)
        self.run(
            *(sys.executable, "-m", "copyparty", "-q", "-i", "127.0.0.1", "-p", str(self.port)),
            *("-nc", "12000", "--no-crt", "--no-thumb", "--put-ck", "sha256", "--bup-ck", "sha256"),
            *("-v", f"{self.store}:/:r", "-v", f"{uploads}:/up:rw"),
            environment={"XDG_CONFIG_HOME": self.home},
        )
        self.await_answer(self.port)

    def version(self) -> str:
        """The package's."""
        from importlib.metadata import version

        return version("copyparty")

    def post(self) -> tuple[str, list[str]]:
        """PUT of a name that is new."""
        return "PUT", ["/up/@"]

    def target(self, form: bool, number: int) -> Target:
        """A form goes to the directory, after a field that names the act."""
        if form:
            return Target("POST", "/up/", form, {"act": "bput"})
        return Target("PUT", f"/up/big{number}")
