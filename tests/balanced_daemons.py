"""Real daemons on one object store: one by itself, or several behind an nginx, which picks one at random.

nginx does not repeat a request that has failed, so a test sees each failure. It streams bodies in both
directions, and opens a connection to a daemon for each request. A request of HTTP/1.0 without a host is
passed on as one of HTTP/1.1, which needs a host: `tests.daemon_process.start` names it ``x``.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.daemon.reverse_proxy import running_proxy
from tests.daemon_process import Running, start
from tests.seaweedfs import NEEDS, Prefix
from tests.storage.object_stores import seaweedfs_client
from tests.token_leaks import tokens_of

NEEDS_BALANCER = pytest.mark.needs("nginx")

CONFIGURATION = """
map $http_host $named_host {{ "" x; default $http_host; }}
upstream daemons {{ random; {servers} }}
server {{
  listen 80;
  client_max_body_size 0;
  location / {{
    proxy_pass http://daemons;
    proxy_http_version 1.1;
    proxy_set_header Host $named_host;
    proxy_next_upstream off;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
  }}
}}
"""

FILES, IMAGES = "files", "images"
"""Prefixes of both stores, below that of a test."""


@dataclass(frozen=True)
class Balanced:
    """Daemons behind a balancer on a port of loopback; the attributes are as those of `Running`."""

    daemons: list[Running]
    port: int

    @property
    def url(self) -> str:
        """The root of the URLs of the balancer, with the slash."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def log(self) -> str:
        """All that the daemons have logged so far."""
        return "".join(daemon.log for daemon in self.daemons)

    def end(self) -> None:
        """End the daemons, but not the balancer."""
        for daemon in self.daemons:
            daemon.end()


def start_on_engine(
    prefix: Prefix, directory: str, started: list[Running], *options: str, **more: Any
) -> Running:
    """Start a daemon whose files and images are below `prefix`; see `tests.daemon_process.start`.

    Uploads and thumbnails are kept in a spool of its own, as on a machine of its own.
    """
    spool = os.path.join(directory, "spool")
    os.makedirs(spool, exist_ok=True)
    places = ["--store", prefix.below(FILES).url, "--images", prefix.below(IMAGES).url, "--spool", spool]
    environment = {**prefix.server.environment, **more.pop("environment", {})}
    running = start(directory, started, *places, *options, environment=environment, **more)
    running.tokens = partial(_tokens, prefix.below(IMAGES))
    return running


def _tokens(images: Prefix) -> list[bytes]:
    """Return the tokens of all accounts; none if the object store has been stopped."""
    if not images.server.is_running:
        return []
    from filestored.storage.object_store.records import ObjectRecords

    return tokens_of(ObjectRecords(seaweedfs_client(images)))


@contextmanager
def balanced_daemons(
    prefix: Prefix, directory: str, *options: str, count: int = 2, **more: Any
) -> Iterator[Balanced]:
    """Run `count` daemons on `prefix` and a balancer before them; all have ended in the end."""
    started: list[Running] = []
    try:
        for number in range(1, count + 1):
            start_on_engine(prefix, os.path.join(directory, f"daemon{number}"), started, *options, **more)
        servers = " ".join(f"server 127.0.0.1:{daemon.port};" for daemon in started)
        configuration = CONFIGURATION.format(servers=servers)
        with running_proxy("nginx", configuration, os.path.join(directory, "balancer"), tcp=True) as port:
            yield Balanced(started, int(port))
    finally:
        for running in started:
            running.end()


ENGINE = pytest.param("object store", marks=NEEDS)
BALANCED = pytest.param("two daemons", marks=[NEEDS, NEEDS_BALANCER])
"""Parameters of fixtures that start a server on SeaweedFS."""
