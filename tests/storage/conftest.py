"""The backends, each of which passes one contract suite, and a store on disk to work with."""

import os
from collections.abc import Callable, Iterator

import pytest

from filestored.interfaces import IBackend
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.file_cache import FileCache
from filestored.storage.disk.layout import prepare
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.memory import MemoryBackend
from tests.storage.contract import MD5, without_tmpfile
from tests.storage.object_stores import ENGINES, LOCAL, open_backend, opened_client


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A path for a new store."""
    return str(tmp_path_factory.mktemp("home") / "store")


@pytest.fixture
def open_disk(place: str) -> Iterator[Callable[..., DiskBackend]]:
    """A function that opens the store at `place`, with the calls it is given; prepared with others."""
    opened = []

    def open_it(
        calls: Syscalls | None = None,
        reserve: int = 0,
        batch_flush_min: int | None = None,
        file_cache: FileCache | None = None,
    ) -> DiskBackend:
        backend = DiskBackend(place, prepare(place, "md5"), calls, reserve, batch_flush_min, file_cache)
        opened.append(backend)
        return backend

    yield open_it
    for backend in opened:
        backend.close()


@pytest.fixture
def disk(open_disk: Callable[..., DiskBackend]) -> DiskBackend:
    """An empty store on disk."""
    return open_disk()


@pytest.fixture(params=[*LOCAL, *ENGINES])
def backend(request: pytest.FixtureRequest, tmp_path: os.PathLike[str]) -> Iterator[IBackend]:
    """Each backend in turn."""
    if request.param == "memory":
        yield MemoryBackend(MD5)
    elif request.param == "disk":
        yield request.getfixturevalue("disk")
    elif request.param == "disk with a file cache":
        yield request.getfixturevalue("open_disk")(file_cache=FileCache())
    elif request.param == "disk without O_TMPFILE":
        yield request.getfixturevalue("open_disk")(without_tmpfile())
    else:
        with opened_client(request) as client:
            yield open_backend(client, MD5, str(tmp_path))
