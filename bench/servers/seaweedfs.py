"""SeaweedFS's volume server: many small files appended to few large ones, in Go.

A master hands out ids; the volume server is asked directly, as its clients do. One id is fetched per
volume, and the uploads use it with ``_1``, ``_2``, … behind, as the documentation offers for many
files. Only the volume server is counted. Telemetry is off.
"""

import json
import os
from collections.abc import Sequence
from typing import ClassVar

from bench.servers.base import Server, first_line, free_port, get, program
from bench.upload_client import Target

VOLUMES = 4

IDS = 10**13
"""Ids per base; more than there are numbers."""


class SeaweedFS(Server):
    """A master and a volume server, as they come."""

    name: str = "SeaweedFS"
    omits: ClassVar[str] = (
        "CRC-32C of the bytes, no hash; no flush unless asked. A second server names the files; each upload "
        "is held in memory whole."
    )
    query: ClassVar[str] = ""
    reads: ClassVar[bool] = True
    """True if it is given the set of files."""

    def start(self) -> None:
        """Run both, and wait until the master knows the volume server."""
        weed, master, self.port = program("weed") or "weed", free_port(), free_port()
        grpc, here = free_port(), ("-ip=127.0.0.1", "-ip.bind=127.0.0.1")
        for name in ("master", "volume"):
            os.makedirs(os.path.join(self.home, name), exist_ok=True)
        self.run(
            *(weed, "master", *here, f"-port={master}", f"-port.grpc={grpc}", "-mdir=master"),
            *("-peers=none", "-telemetry=false"),
        )
        self.await_answer(master)
        self.run(
            *(weed, "volume", *here, f"-port={self.port}", f"-port.grpc={free_port()}", "-dir=volume"),
            *(f"-max={VOLUMES}", f"-master=127.0.0.1:{master}.{grpc}", "-fileSizeLimitMB=1024"),
            *("-readMode=local", "-preStopSeconds=0"),
        )
        self.await_answer(self.port)
        self._bases = [self._assign(master) for _ in range(VOLUMES)]
        self._placed: dict[str, str] = {}

    def version(self) -> str:
        """As it says itself."""
        return first_line(program("weed") or "weed", "version").removeprefix("version ")

    def place(self, digest: str, content: bytes) -> None:
        """Upload a file of the set, because it serves nothing but its own volumes."""
        number = len(self._placed)
        path = f"/{self._bases[number % VOLUMES]}_{number + 1}"
        status, answer = get(self.port, path, "POST", content)
        if status != 201:
            raise RuntimeError(f"SeaweedFS refused a file: {status} {answer!r}")
        self._placed[digest] = path

    def path(self, digest: str) -> str:
        """The id it got."""
        return self._placed[digest]

    def post(self) -> tuple[str, Sequence[str]]:
        """Return the targets of the volumes, round robin."""
        return "POST", [f"/{base}_@{self.query}" for base in self._bases]

    def target(self, form: bool, number: int) -> Target:
        """A path of its own for each; the number is beyond those of the small ones."""
        return Target("POST", f"/{self._bases[number % VOLUMES]}_{10**11 + number}{self.query}", form)

    def _assign(self, master: int) -> str:
        for _ in range(500):
            found = json.loads(get(master, f"/dir/assign?count={IDS}")[1])
            if "fid" in found:
                return str(found["fid"])
        raise RuntimeError(f"SeaweedFS's master assigns nothing: {found}")


class Flushing(SeaweedFS):
    """The same, asked to flush each upload: one flush for many, as it does by itself."""

    name: str = "SeaweedFS, fsync"
    omits: ClassVar[str] = "As SeaweedFS, each upload flushed before it is answered, still not hashed."
    query: ClassVar[str] = "?fsync=true"
    reads: ClassVar[bool] = False
