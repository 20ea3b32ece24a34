"""Shared parts of the proofs on an object store: a SeaweedFS, and daemons on it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.balanced_daemons import start_on_engine
from tests.daemon_process import Running
from tests.deep.bench import Bench, NotRunError
from tests.seaweedfs import Prefix, SeaweedFS
from tests.tools import advice, find_tool


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
    return start_on_engine(
        prefix,
        os.path.join(bench.directory, name),
        bench.started,
        *("--workers", "1"),
        *options,
        listen=f"tcp:{port}:interface=127.0.0.1",
        environment=environment or {},
        pid_file=False,
    )


def spool_of(bench: Bench, name: str = "daemon") -> str:
    """Return the directory of the spool of a daemon."""
    return os.path.join(bench.directory, name, "spool")
