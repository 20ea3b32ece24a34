"""Servers of the wire contract: on a disk, on an object store, two behind a balancer; and what they store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.balanced_daemons import BALANCED, ENGINE, FILES, Balanced, balanced_daemons, start_on_engine
from tests.daemon_process import Running, read, start
from tests.seaweedfs import Prefix

DISK = "disk"

ONE_DAEMON = [DISK, ENGINE]
"""Parameters of the fixture ``served`` for tests of framing: nginx frames requests anew, or refuses them."""

ALL_SERVERS = [DISK, ENGINE, BALANCED]


@dataclass(frozen=True)
class Served:
    """A server, and where it keeps its files: a directory, or a prefix of an object store."""

    server: Running | Balanced
    place: str | Prefix

    @property
    def daemons(self) -> list[Running]:
        """The daemons behind the balancer, or the only one."""
        return self.server.daemons if isinstance(self.server, Balanced) else [self.server]

    def engine_sockets(self) -> set[str]:
        """The sockets that are connected to the object store now, as ``socket:[inode]``."""
        if not isinstance(self.place, Prefix):
            return set()
        remote = f":{self.place.server.ports['s3']:04X}"
        connections = [line.split() for line in read("/proc/net/tcp").splitlines()]
        return {f"socket:[{words[9]}]" for words in connections if words[2].endswith(remote)}

    def names(self) -> set[str]:
        """The last segments of the names of all files, whole or not."""
        if isinstance(self.place, Prefix):
            return {name.rpartition("/")[2] for name in self.place.names()}
        return {name for _, _, names in os.walk(self.place) for name in names}

    def read(self, digest: str) -> bytes:
        """The bytes of a file."""
        name = f"{digest[:2]}/{digest}"
        if isinstance(self.place, Prefix):
            return self.place.read(name)
        with open(os.path.join(self.place, name), "rb") as file:
            return file.read()


@contextmanager
def serve(
    request: pytest.FixtureRequest, kind: str, directory: str, *options: str, **more: Any
) -> Iterator[Served]:
    """Run the server of a parameter with these options of filestored; all has ended in the end."""
    if kind == DISK:
        started: list[Running] = []
        running = start(directory, started, "--workers", "1", *options, **more)
        yield Served(running, running.store)
        running.end()
        return
    prefix = request.getfixturevalue("seaweedfs").make_prefix()
    if kind == "object store":
        running = start_on_engine(prefix, directory, [], "--workers", "1", *options, **more)
        yield Served(running, prefix.below(FILES))
        running.end()
        return
    with balanced_daemons(prefix, directory, "--workers", "1", *options, **more) as balanced:
        yield Served(balanced, prefix.below(FILES))
