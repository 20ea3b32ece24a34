"""The store's order, proved with strace on the real daemon; and its twin, which must fail.

The twin is the same daemon with one flush gone: ``sitecustomize`` on its path replaces the flush among
the system calls of the store, as the seam for tests allows. A check that passes both proves nothing.
"""

import hashlib
import os

import pytest
import requests

from tests.daemon.running import ROOT, until
from tests.durability.rule import broken_rules
from tests.durability.tracing import read_calls, strace

pytestmark = pytest.mark.needs("strace")

SITECUSTOMIZE = """
import dataclasses, os, stat
from filestored.storage.calls import Calls

def skipping(flush):
    def flush_unless(descriptor):
        if not stat.{kind}(os.fstat(descriptor).st_mode):
            return flush(descriptor)
    return flush_unless

initial = Calls.__init__
names = [field.name for field in dataclasses.fields(Calls)]
flushes = {{"fsync", "fdatasync", "syncfs"}}
initial.__defaults__ = tuple(
    skipping(call) if name in flushes else call for name, call in zip(names, initial.__defaults__)
)
"""
"""What takes one kind of flush away: of regular files, or of directories."""

CONTENTS = {"small": b"a small file", "large": bytes(range(256)) * 4096}


def broken(start_daemon, tmp_path, content, environment=None):
    """What strace says of three uploads of this content, each deleted by hand to be new again."""
    trace = str(tmp_path / "trace")
    daemon = start_daemon("--workers", "1", wrap=strace(trace), environment=environment)
    digest = hashlib.md5(content).hexdigest()
    shard = os.path.join(os.path.realpath(daemon.store), digest[:2])
    for _ in range(3):
        answer = requests.post(daemon.url, data=content, headers={"Content-Type": "a/b"}, timeout=60)
        assert (200, digest) == (answer.status_code, answer.text)
        os.unlink(os.path.join(shard, digest))
    daemon.end()
    until(lambda: not os.path.exists(f"/proc/{daemon.pid}"), "all calls are written down")
    return broken_rules(read_calls(trace), shard, '"HTTP/1.1 200 OK')


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_the_bytes_are_flushed_then_named_and_the_name_is_flushed_then_acknowledged(
    start_daemon, tmp_path, content
):
    assert [] == broken(start_daemon, tmp_path, content)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("S_ISREG", "the bytes are not flushed when they are named"),
        ("S_ISDIR", "the name is not flushed when it is acknowledged"),
    ],
    ids=["files", "directories"],
)
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_a_daemon_without_one_flush_is_found_out(start_daemon, tmp_path, content, kind, expected):
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE.format(kind=kind))
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    assert [expected] * 3 == broken(start_daemon, tmp_path, content, environment)
