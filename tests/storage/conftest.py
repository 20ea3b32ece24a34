"""The backends, each of which passes one contract suite, and a store on disk to work with."""

from collections.abc import Callable, Iterator

import pytest

from filestored.interfaces import IBackend
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.file_cache import FileCache
from filestored.storage.disk.layout import prepare
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.memory import MemoryBackend
from tests.storage.contract import MD5, without_tmpfile


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


@pytest.fixture(params=["memory", "disk", "disk with a file cache", "disk without O_TMPFILE"])
def backend(request: pytest.FixtureRequest) -> IBackend:
    """Each backend in turn."""
    if request.param == "memory":
        return MemoryBackend(MD5)
    open_it = request.getfixturevalue("open_disk")
    if request.param == "disk with a file cache":
        return open_it(file_cache=FileCache())
    return open_it() if request.param == "disk" else open_it(without_tmpfile())
