"""Shared parts of the proofs on an object store: a SeaweedFS, daemons on it, and all that is stored there."""

import hashlib
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.daemon_process import Running
from tests.deep.bench import Bench, NotRunError
from tests.seaweedfs import Prefix, SeaweedFS
from tests.tools import advice, find_tool

BLOCK_BYTES = 1 << 20
PORTS = range(22_000, 32_000)
"""Ports of daemons that are started again, below those that the kernel gives to connections."""


@contextmanager
def engine(bench: Bench, *tools: str) -> Iterator[SeaweedFS]:
    """Run a SeaweedFS in the directory of a proof, which also needs `tools`."""
    for tool in ("weed", "obstore", *tools):
        if find_tool(tool) is None:
            raise NotRunError(f"needs {advice(tool)}")
    with SeaweedFS(os.path.join(bench.directory, "seaweedfs")) as server:
        yield server


def start_on(
    bench: Bench,
    prefix: Prefix,
    *options: str,
    name: str = "daemon",
    port: int = 0,
    environment: Mapping[str, str] | None = None,
) -> Running:
    """Start a daemon of one process on a prefix: files and images. `environment` names the engine."""
    spool = spool_of(bench, name)
    os.makedirs(spool, exist_ok=True)
    return bench.start(
        *("--workers", "1", "--spool", spool),
        *("--store", prefix.below("store").url, "--images", prefix.below("images").url),
        *options,
        name=name,
        listen=f"tcp:{port}:interface=127.0.0.1",
        environment=environment or prefix.server.environment,
        pid_file=False,
    )


def spool_of(bench: Bench, name: str = "daemon") -> str:
    """Return the directory of the spool of a daemon."""
    return os.path.join(bench.directory, name, "spool")


def spooled(directory: str) -> list[str]:
    """Return the files in a spool, which has names only for thumbnails."""
    return [
        os.path.join(folder, name)
        for folder, _, names in os.walk(directory)
        if not os.path.relpath(folder, directory).startswith("filestored-thumbnails-")
        for name in names
    ]


def free_port() -> int:
    """Return a port that a daemon can use again after its end."""
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) and _can_bind(port):
                return port
    raise AssertionError("no port is free")


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def partial_objects(prefix: Prefix) -> tuple[int, list[str]]:
    """Count the stored files below a prefix, and name those whose content has another hash."""
    store = prefix.below("store").open_store()
    names = [name for name in prefix.below("store").names() if name[2:3] == "/"]
    return len(names), [name for name in names if _hash_of(store, name) != name[3:]]


def _hash_of(store: object, name: str) -> str:
    hasher = hashlib.sha256()
    for block in store.get(name).stream(min_chunk_size=BLOCK_BYTES):  # type: ignore[attr-defined]
        hasher.update(block)
    return hasher.hexdigest()


def s3_status(server: SeaweedFS) -> bool:
    """Return whether the engine answers a PUT and a GET."""
    try:
        store = server.open_store()
        store.put("probe", b"x")
        return bytes(store.get("probe").bytes()) == b"x"
    except Exception:  # of obstore, which may not be imported at the top
        return False
