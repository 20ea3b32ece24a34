"""Refused uploads: a daemon for each cause, the request, and the response that each client has to report."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import requests

from tests.daemon_process import ROOT, TIMEOUT, Running, start

WRONG_DIGEST = {"Content-Digest": f"sha-256=:{'A' * 43}=:"}


@dataclass(frozen=True)
class Refusal:
    """A refused request: the daemon that refuses it, and the status and text of its response."""

    status: int
    text: str
    daemon: str = "plain"
    method: str = "POST"
    path: str = ""
    fields: dict[str, str] = field(default_factory=dict)


NOTHING_THERE = "There is nothing at this address."
WRONG_BYTES = "The bytes received do not have the digest that was announced."
REFUSALS = [
    Refusal(401, "Unknown token", path="imageapi/token/AAAAAAAAAA/upload-image/"),
    Refusal(403, "Web pages of other sites may not do this.", fields={"Origin": "http://evil.example"}),
    Refusal(404, NOTHING_THERE, path="nowhere"),
    Refusal(404, NOTHING_THERE, method="PUT", path="nowhere"),
    Refusal(405, "This method is not allowed here.", path="health"),
    Refusal(413, "The file is larger than 1,000,000 bytes", daemon="small"),
    Refusal(415, "Send the file without a Content-Encoding.", fields={"Content-Encoding": "gzip"}),
    Refusal(422, WRONG_BYTES, fields=WRONG_DIGEST),
    Refusal(422, WRONG_BYTES, method="PUT", path=f"files/{'0' * 64}"),
    Refusal(503, "Writing is suspended", daemon="removed"),
    Refusal(507, "There is no room left to store the body.", daemon="full"),
]


@contextmanager
def refusing_daemons(directory: str, *options: str) -> Iterator[dict[str, Running]]:
    """Start the daemons that `REFUSALS` name, with further options; end them at the end of the context."""
    started: list[Running] = []
    with ExitStack() as stack:
        stack.callback(lambda: [running.end() for running in started])

        def begin(name: str, *more: str, **environment: str) -> Running:
            words = ("--workers", "1", *options, *more)
            return start(os.path.join(directory, name), started, *words, environment=environment)

        daemons = {
            "plain": begin("plain"),
            "small": begin("small", "--max-size", "1MB"),
            "removed": begin("removed"),
            "full": begin("full", PYTHONPATH=_on_a_full_disk(os.path.join(directory, "full"))),
        }
        shutil.rmtree(daemons["removed"].store)
        requests.post(daemons["removed"].url, data=b"noticed now", timeout=TIMEOUT)
        yield daemons


def _on_a_full_disk(directory: str) -> str:
    """Return the PYTHONPATH of a daemon to which fstatvfs(3) reports no free block."""
    os.makedirs(directory)
    with open(os.path.join(directory, "sitecustomize.py"), "w", encoding="ascii") as file:
        file.write(_FULL)
    return f"{directory}{os.pathsep}{ROOT}"


_FULL = """
import os

fstatvfs = os.fstatvfs

def without_free_blocks(descriptor):
    values = list(fstatvfs(descriptor))
    values[3] = values[4] = 0
    return os.statvfs_result(values)

os.fstatvfs = without_free_blocks
"""
