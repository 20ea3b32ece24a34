"""SeaweedFS as an engine: master, filer, volume server and S3 gateway in one process.

The gateway is asked directly, and the same process is the engine below filestored. Clients without a
signature may read and write, so that wrk and the upload client need none; filestored signs its requests.
Telemetry, WebDAV and the administrators' page are off.
"""

import json
import os
import time
from collections.abc import Sequence
from typing import ClassVar

from bench.servers.base import TIMEOUT_SECONDS, Server, first_line, free_port, get, program
from bench.servers.filestored import Filestored

BUCKET = "bench"
PREFIX = "store"
"""Bucket and prefix of filestored's objects, which the gateway serves, too."""

ACCESS_KEY, SECRET_KEY = "testkey", "testsecret"

MAX_ADMIN_PORT = 55_000
"""Upper bound of the administrators' port: a worker inside connects to the port 10,000 above it."""

SERVICES = ("master", "filer", "volume", "s3", "admin")

_IDENTITIES = {
    "identities": [
        {
            "name": "filestored",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {"name": "anonymous", "actions": ["Admin", "Read", "Write"]},
    ]
}


class Gateway(Server):
    """The whole engine in one process, as `weed mini` starts it."""

    name: str = "SeaweedFS, S3"
    omits: ClassVar[str] = "Hashes with MD5, for the ETag; no flush. The client chooses the name."

    metrics_port = 0
    """The port of its counters."""

    def start(self) -> None:
        """Run it, and wait until an object can be put, which makes the bucket and the first volumes."""
        self.port, self.metrics_port = free_port(), free_port()
        os.makedirs(self.home, exist_ok=True)
        with open(os.path.join(self.home, "s3.json"), "w") as file:
            json.dump(_IDENTITIES, file)
        self.run(
            *(program("weed") or "weed", "-logtostderr=true", "-v=0", "mini", "-dir=.", "-ip=127.0.0.1"),
            *("-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false", "-admin.ui=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.config=s3.json"),
            *(f"-metricsPort={self.metrics_port}", *self._ports()),
        )
        self.await_answer(self.port)
        self._await_put()

    def version(self) -> str:
        """As it says itself."""
        return first_line(program("weed") or "weed", "version").removeprefix("version ")

    def path(self, digest: str) -> str:
        """Return the path of the object that filestored made."""
        return f"/{BUCKET}/{PREFIX}/{super().path(digest)[1:]}"

    def post(self) -> tuple[str, Sequence[str]]:
        """PUT of a name that is new."""
        return "PUT", [f"/{BUCKET}/up/@"]

    def _ports(self) -> list[str]:
        admin = free_port()
        while admin > MAX_ADMIN_PORT:
            admin = free_port()
        ports = {name: free_port() for name in SERVICES} | {"s3": self.port, "admin": admin}
        plain = [f"-{name}.port={port}" for name, port in ports.items()]
        return [*plain, *(f"-{name}.port.grpc={free_port()}" for name in SERVICES)]

    def _await_put(self) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            status, answer = get(self.port, f"/{BUCKET}/first", "PUT", b"first")
            if status == 200:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} stores nothing: {status} {answer!r}")


class FilestoredOnEngine(Filestored):
    """filestored with one worker, whose store is a bucket of the `engine`."""

    name: str = "filestored on SeaweedFS"
    omits: ClassVar[str] = "Hashes with SHA-256, spools large files to the disk, puts them, answers."
    engine: Gateway
    """The engine, which the caller sets before `start`."""

    def start(self) -> None:
        """Start twistd with a spool directory."""
        os.makedirs(self.spool, exist_ok=True)
        self.options = ("--spool", self.spool, "--images", f"s3://{BUCKET}/images")
        super().start()

    @property
    def spool(self) -> str:
        """The directory of unnamed files."""
        return os.path.join(self.home, "spool")

    def environment(self) -> dict[str, str]:
        """Return the variables with the credentials, the region and the address of the engine."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.engine.url.rstrip("/"),
        }
