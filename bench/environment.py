"""Environment of a run: a directory, the store in it, and running servers.

`Environment` makes the set of files once, starts the servers that a run needs, gives SeaweedFS its own copy,
and at the end stops all of them and removes everything.
"""

import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from types import TracebackType

from bench import certificate
from bench.cleanup import remove
from bench.cpu_affinity import Cores, on
from bench.files import FILE_KINDS, write_files
from bench.servers import copyparty, filestored, nginx, seaweedfs, twisted_web
from bench.servers.base import Server, program
from filestored.storage.disk.layout import prepare

ALL: tuple[tuple[type[Server], int], ...] = (
    (filestored.Filestored, 1),
    (nginx.Nginx, 1),
    (seaweedfs.SeaweedFS, 1),
    (seaweedfs.Flushing, 1),
    (copyparty.Copyparty, 1),
    (twisted_web.TwistedWeb, 1),
    (filestored.Logging, 1),
    (filestored.Forms, 1),
    (filestored.TLS, 1),
    (nginx.TLS, 1),
    (filestored.Workers, 2),
    (nginx.Workers, 2),
)
"""All kinds of servers, each with its number of worker processes."""

NEEDED = {"nginx": "nginx", "SeaweedFS": "weed", "copyparty": "copyparty"}
"""The program behind a server, by the first word of its name; the others need nothing but Python."""


class Environment:
    """The directory of a run, below `directory`; used as a context."""

    def __init__(self, directory: str | None, cores: Cores) -> None:
        self.cores = cores
        self.path = tempfile.mkdtemp(prefix="filestored-bench-", dir=directory)
        os.chmod(self.path, 0o755)
        self.store = os.path.join(self.path, "store")
        self.running: dict[str, Server] = {}
        self.served: dict[str, list[str]] = {}
        self._homes = 0

    def __enter__(self) -> "Environment":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        remove(self.path)

    @cached_property
    def certificate(self) -> certificate.Certificate:
        """The certificate of all servers with TLS."""
        return certificate.create(self.path)

    def create_store(self) -> None:
        """Make the store and its files."""
        prepare(self.store, "sha256")
        self.served = {kind.name: write_files(self.store, kind.contents()) for kind in FILE_KINDS}
        os.sync()

    def start_servers(
        self, names: Iterable[str], kinds: Sequence[tuple[type[Server], int]] = ALL
    ) -> list[str]:
        """Start the servers of these names; returns a sentence for each that cannot be started."""
        absent = []
        for kind, workers in kinds:
            if kind.name not in names:
                continue
            if missing(kind.name):
                absent.append(f"{kind.name} is left out: {missing(kind.name)} is not installed")
                continue
            try:
                self.running[kind.name] = self.start(kind, workers)
            except (OSError, RuntimeError) as error:
                absent.append(f"{kind.name} is left out: {error}")
        os.sync()
        return absent

    def clear(self) -> None:
        """Stop the servers that `start_servers` started, and remove what was uploaded to them."""
        while self.running:
            _, server = self.running.popitem()
            server.stop()
            remove(server.home)

    def start(self, kind: type[Server], workers: int = 1, store: str | None = None) -> Server:
        """A server of this kind that answers, with the set to serve. The caller stops it."""
        self._homes += 1
        server = kind(os.path.join(self.path, f"home{self._homes}"), store or self.store, self.cores, workers)
        if server.tls:
            server.certificate = self.certificate
        started = time.monotonic()
        try:
            server.start()
            server.started = time.monotonic() - started
            if isinstance(server, seaweedfs.SeaweedFS) and server.reads:
                self._upload_files(server)
        except BaseException:
            server.stop()
            raise
        server.served = self.served
        return server

    def _upload_files(self, server: seaweedfs.SeaweedFS) -> None:
        with on(self.cores.for_client(1)):
            for kind in FILE_KINDS:
                for digest, content in zip(self.served[kind.name], kind.contents(), strict=True):
                    server.place(digest, content)


def missing(name: str) -> str | None:
    """The program that a server lacks on this machine; None when it can be started."""
    needed = NEEDED.get(name.partition(",")[0])
    return None if needed is None or program(needed) else needed
