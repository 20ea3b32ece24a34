"""Checks of daemons on a bucket: files in their spools, objects that they wrote; ports to use again."""

import hashlib
import os
import random
import socket
from typing import Any

from tests.balanced_daemons import FILES
from tests.seaweedfs import Prefix, SeaweedFS

BLOCK_BYTES = 1 << 20
PORTS = range(22_000, 32_000)
"""Ports of daemons that are started again, below those that the kernel gives to connections."""


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
    return next(port for port in random.sample(PORTS, len(PORTS)) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return bool(probe.connect_ex(("127.0.0.1", port)))


def partial_objects(prefix: Prefix) -> tuple[int, list[str]]:
    """Count the stored files below a prefix, and name those whose content has another hash."""
    store = prefix.below(FILES).open_store()
    names = [name for name in prefix.below(FILES).names() if name[2:3] == "/"]
    return len(names), [name for name in names if _hash_of(store, name) != name[3:]]


def _hash_of(store: Any, name: str) -> str:
    hasher = hashlib.sha256()
    for block in store.get(name).stream(min_chunk_size=BLOCK_BYTES):
        hasher.update(block)
    return hasher.hexdigest()


def answers(server: SeaweedFS) -> bool:
    """Return whether the engine answers a PUT and a GET."""
    try:
        store = server.open_store()
        store.put("probe", b"x")
        return bytes(store.get("probe").bytes()) == b"x"
    except Exception:  # of obstore, which may not be imported at the top
        return False
