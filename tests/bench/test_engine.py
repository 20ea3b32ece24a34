"""Benchmark on an engine: SeaweedFS as it is started, memory and spool files of a process."""

import hashlib
import mmap
import os
import shutil
from collections import namedtuple

import pytest

from bench import engine_memory
from bench.cpu_affinity import Cores
from bench.engine import running
from bench.engine_memory import spool_bytes
from bench.engine_requests import requests
from bench.environment import Environment
from bench.files import GIB, MIB
from bench.parallel_uploads import SIZE
from bench.processes import memory
from bench.servers.base import get
from bench.servers.seaweedfs_s3 import Gateway
from tests.daemon_process import until


@pytest.mark.needs("weed")
def test_gateway_stores_and_serves_without_a_signature(tmp_path):
    gateway = Gateway(str(tmp_path / "engine"), "", Cores.available())
    try:
        gateway.start()
        before = requests(gateway)
        method, [target] = gateway.post()
        path = target.replace("@", "1")
        assert 200 == get(gateway.port, path, method, b"content")[0]
        assert (200, b"content") == get(gateway.port, path)
        until(lambda: {"PUT": 1, "GET": 1} == requests(gateway) - before, "the gateway has counted")
    finally:
        gateway.stop()


@pytest.mark.needs("obstore")
@pytest.mark.needs("weed")
def test_gateway_serves_what_filestored_has_stored(tmp_path):
    digest = hashlib.sha256(b"content").hexdigest()
    with (
        Environment(str(tmp_path), Cores.available()) as environment,
        running(environment) as (gateway, server),
    ):
        assert 200 == get(server.port, "/", "POST", b"content")[0]
        assert (200, b"content") == get(gateway.port, gateway.path(digest))
        assert (200, b"content") == get(server.port, server.path(digest))


def test_memory_of_a_process_has_anonymous_and_mapped_pages():
    anonymous, mapped = memory(os.getpid())
    assert anonymous > 0
    assert mapped > 0


def test_spool_bytes_are_those_of_unnamed_files_of_the_directory(tmp_path):
    spool, other = tmp_path / "spool", tmp_path / "spool2"
    spool.mkdir()
    other.mkdir()
    descriptors = [os.open(each, os.O_TMPFILE | os.O_RDWR) for each in (spool, other)]
    descriptors.append(os.open(spool / "named", os.O_CREAT | os.O_RDWR))
    try:
        for descriptor in descriptors:
            os.write(descriptor, bytes(MIB))
            os.fsync(descriptor)
        with mmap.mmap(descriptors[0], MIB, prot=mmap.PROT_READ):
            assert MIB == spool_bytes(os.getpid(), str(spool))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert 0 == spool_bytes(os.getpid(), str(spool))


def test_uploads_without_disk_space_for_them_are_refused(tmp_path, monkeypatch):
    free = 2 * SIZE + engine_memory.RESERVE_BYTES - GIB
    usage = namedtuple("usage", "total used free")(free, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with (
        Environment(str(tmp_path), Cores.available()) as environment,
        pytest.raises(RuntimeError, match="GiB free"),
    ):
        engine_memory.measure(environment, 1)
