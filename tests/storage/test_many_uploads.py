"""The store on real threads, in many processes, and on a disk that is full."""

import errno
import os
import shutil
import subprocess

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults, maybeDeferred

from filestored.errors import StorageFull, UploadRefused
from filestored.interfaces import UploadResult
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare
from filestored.storage.store import Store
from filestored.storage.thread_pool import ThreadPool, in_threads
from tests.storage.contract import MD5, digest_of, files_below, outcome, read, send, watched


@pytest.fixture
def pool():
    """Real I/O threads."""
    threads = ThreadPool("test", 8)
    threads.start()
    yield in_threads(reactor, threads)
    threads.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [4096, 1_000_000])
async def test_the_same_file_from_64_clients_is_stored_once(open_disk, place, pool, size):
    stores = [Store(open_disk(), MD5, pool) for _ in range(2)]
    data = os.urandom(size)
    stored = await gatherResults([send(stores[number % 2], data) for number in range(64)])
    assert [False] * 63 + [True] == sorted(answer.created for answer in stored)
    assert {digest_of(data)} == {answer.digest for answer in stored}
    (name,) = files_below(place)
    assert (1, size) == (os.stat(f"{place}/{name}").st_nlink, os.stat(f"{place}/{name}").st_size)


@pytest_twisted.ensureDeferred
async def test_concurrent_uploads_of_all_sizes_are_stored(open_disk, pool):
    disk = open_disk()
    store = Store(disk, MD5, pool)
    contents = [os.urandom(size) for size in (0, 1, 100, 65536, 65537, 300_000, 1_500_000) for _ in range(8)]
    stored = await gatherResults([send(store, data) for data in contents])
    assert [digest_of(data) for data in contents] == [answer.digest for answer in stored]
    assert all(data == read(disk, digest_of(data)) for data in contents)
    assert 0 == store.uploads_in_flight


def test_the_same_file_from_many_processes_is_stored_once(open_disk, place):
    disks = [open_disk() for _ in range(3)]  # each holds 257 directories, and 1,024 is a common limit
    reader, writer = os.pipe()
    children = []
    for disk in disks:
        child = os.fork()
        if child == 0:
            try:
                os.read(reader, 1)
                store = Store(disk, MD5, maybeDeferred)
                answers = [outcome(send(store, b"%d" % number)) for number in range(100)]
                os._exit(sum(answer.created for answer in answers))
            except BaseException:
                os._exit(255)
        children.append(child)
    os.write(writer, b"x" * len(children))
    created = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(reader)
    os.close(writer)
    assert 100 == sum(created)
    assert 100 == len(files_below(place))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB where mounting is allowed, else a directory."""
    path = str(tmp_path / "small")
    os.mkdir(path, 0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "none", path]
    mounted = shutil.which("mount") and subprocess.run(command, capture_output=True).returncode == 0
    yield path, bool(mounted)
    if mounted:
        subprocess.run(["umount", path], check=True)


def test_a_full_disk_refuses_uploads_serves_deletes_and_recovers(small_disk):
    path, mounted = small_disk
    room = [4_000_000]

    def ration(name, args):
        if name == "write" and not mounted:
            room[0] -= len(args[1])
            if room[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    own = prepare(path + "/store")
    disk = DiskBackend(path + "/store", own, watched(ration), reserve=0 if mounted else -(2**62))
    store = Store(disk, MD5, maybeDeferred)
    kept = []
    while isinstance(stored := send_or_refuse(store, os.urandom(700_000)), UploadResult):
        kept.append(stored.digest)
    assert (StorageFull, None, True) == (type(stored), store.degraded, len(kept) > 2)
    assert 700_000 == len(read(disk, kept[0]))
    assert outcome(store.delete(kept[0])) is True
    room[0] += 1_400_000
    assert isinstance(send_or_refuse(store, os.urandom(500_000)), UploadResult)
    disk.close()


def send_or_refuse(store, data):
    try:
        return outcome(send(store, data))
    except UploadRefused as error:
        return error
