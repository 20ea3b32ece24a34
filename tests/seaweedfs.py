"""A real SeaweedFS for tests: master, volume server, filer and S3 gateway in one process on loopback.

Its gateway makes a bucket at the first PUT. Tests share one SeaweedFS and one bucket; each has a prefix
of its own: a bucket costs volumes, a prefix costs nothing. A test that stops SeaweedFS starts one of its own.

obstore is imported in functions only, because it may be missing: such tests are left out by `NEEDS`.
"""

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pytest

from tests.tools import find_tool

if TYPE_CHECKING:
    from obstore.store import S3Store

NEEDS = pytest.mark.needs("weed", "obstore")
"""Mark of a test that uses SeaweedFS."""

BUCKET = "filestored"
ACCESS_KEY = "AKIAFILESTOREDTESTS1"
LIMITED_ACCESS_KEY = "AKIAFILESTOREDTESTS2"
"""Access key, with the same secret, for which no bucket is made."""

SECRET_KEY = "marked+Secret/of+SeaweedFS/in+the+tests1"
"""Secret that no log, no argument and no error message may hold; see `tests.token_leaks`."""

IDENTITIES = {
    "identities": [
        {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "limited",
            "credentials": [{"accessKey": LIMITED_ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Read", "Write", "List"],
        },
    ]
}

SERVICES = ("master", "filer", "volume", "s3", "admin")

PORTS = range(10_000, 22_000)
"""Ports to choose from, below those that the kernel gives to connections: a restart finds them free."""

GRPC_OFFSET = 10_000
"""Distance of the second port of each service. The worker in SeaweedFS dials that of ``admin`` unasked."""

TIMEOUT_SECONDS = 60.0
ATTEMPTS = 5
"""Bound on starts with other ports, because a chosen one may be taken meanwhile."""


class SeaweedFS:
    """A SeaweedFS that keeps its data in `directory`; `start` returns when a PUT succeeds.

    It can be started again after `stop` and `kill`, on the same ports and data.
    """

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)
        self.ports: dict[str, int] = {}  # by service, and empty before the first start
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        os.makedirs(self.directory, exist_ok=True)
        with open(os.path.join(self.directory, "s3.json"), "w", encoding="utf-8") as file:
            json.dump(IDENTITIES, file)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def endpoint(self) -> str:
        """The URL of its S3 gateway, without a slash at the end."""
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a daemon finds it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    @property
    def pid(self) -> int:
        """The process id; it must run."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True between `start` and `stop` or `kill`."""
        return self._process is not None

    def start(self) -> None:
        """Start it, and wait until a PUT succeeds."""
        if self.ports:
            assert self._starts(), self._output()
            return
        for _ in range(ATTEMPTS):
            self.ports = _free_ports()
            if self._starts():
                return
        raise AssertionError(f"SeaweedFS does not start in {ATTEMPTS} attempts: {self._output()}")

    def stop(self) -> None:
        """End it by SIGTERM, which takes some seconds."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._end(signal.SIGKILL)

    def make_prefix(self) -> "Prefix":
        """Return a prefix of the bucket that has no objects."""
        return Prefix(self, f"tests/{next(self._numbers)}")

    def open_store(self, prefix: str = "") -> "S3Store":
        """Open the bucket, or a prefix of it, as obstore does. An error is raised at once."""
        from obstore.store import S3Store

        return S3Store(
            BUCKET,
            prefix=prefix or None,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True, "timeout": "20s", "pool_max_idle_per_host": "0"},
            retry_config={"max_retries": 0},
        )

    def _starts(self) -> bool:
        """Start a process; return whether it answers a PUT, else end it."""
        home = {"HOME": self.directory}  # no settings of the user
        with open(os.path.join(self.directory, "output"), "ab") as output:
            self._process = subprocess.Popen(
                [find_tool("weed") or "weed", *self._words()],
                cwd=self.directory,
                env={**os.environ, **home},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._puts():
                return True
            time.sleep(0.05)
        self.kill()
        return False

    def _words(self) -> list[str]:
        return [
            *("-logtostderr=true", "-v=0", "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-{service}.port={self.ports[service]}" for service in SERVICES),
            *(f"-{service}.port.grpc={self.ports[service] + GRPC_OFFSET}" for service in SERVICES),
            *("-master.telemetry=false", "-webdav=false", "-admin.ui=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-dir={self.directory}"),
            *(f"-s3.config={self.directory}/s3.json", f"-s3.localSocket={self.directory}/s3.socket"),
            f"-filer.localSocket={self.directory}/filer.socket",
        ]

    def _puts(self) -> bool:
        import obstore

        try:
            obstore.put(self.open_store(), "started", b"")
        except obstore.exceptions.BaseError:
            return False
        return True

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait()
        self._process = None
        for service in SERVICES:  # sockets whose names it does not let choose
            with suppress(FileNotFoundError):
                os.unlink(f"/tmp/seaweedfs-{service}-grpc-{self.ports[service] + GRPC_OFFSET}.sock")

    def _output(self) -> str:
        with open(os.path.join(self.directory, "output"), encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]


@dataclass(frozen=True)
class Prefix:
    """The objects below one prefix of the bucket, as a store or the images of a daemon."""

    server: SeaweedFS
    path: str

    @property
    def url(self) -> str:
        """The URL for ``--store`` or ``--images``."""
        return f"s3://{BUCKET}/{self.path}"

    def below(self, name: str) -> "Prefix":
        """Return the prefix of this name below it."""
        return Prefix(self.server, f"{self.path}/{name}")

    def open_store(self) -> "S3Store":
        """Open it as obstore does."""
        return self.server.open_store(self.path)

    def names(self) -> list[str]:
        """The names of all objects below it, relative to it, in order."""
        return sorted(entry["path"] for page in self.open_store().list() for entry in page)

    def read(self, name: str) -> bytes:
        """The bytes of an object; `FileNotFoundError` when there is none."""
        return bytes(self.open_store().get(name).bytes())

    def write(self, name: str, data: bytes) -> None:
        """Put an object, or replace it."""
        self.open_store().put(name, data)

    def delete(self, name: str) -> None:
        """Delete an object, if there is one."""
        self.open_store().delete(name)


def _free_ports() -> dict[str, int]:
    """Return a port for each service that is free, as is the one at `GRPC_OFFSET`."""
    ports = (
        port for port in random.sample(PORTS, len(PORTS)) if _is_free(port) and _is_free(port + GRPC_OFFSET)
    )
    return dict(zip(SERVICES, ports, strict=False))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
