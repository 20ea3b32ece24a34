"""P1 and P2: an acknowledged change survives a power cut, on ext4 and on XFS.

The store and the images are on a file system of a loop device. Under load of uploads, deletions, new
accounts, uploads and deletions of images, the file system is cut off from its device without its journal
being written; then it is mounted again, and a daemon serves it. Also what was acknowledged after the cut
must be there: an error of the journal is the same event without a power cut.

Twins show that the proof can fail. A daemon that does not flush files must lose some. One that does not
flush directories may be lucky: both file systems write a new name with the next flush of any file. The flush
that confirms those of directories is proved without luck: the cut is made between the name and its flush. On
XFS the variant without confirmation must then report success and lose the file.
"""

import dataclasses
import hashlib
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filestored.digest import algorithm
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare
from filestored.storage.disk.syscalls import Syscalls
from tests.deep.bench import Bench, Verdict, stored_files
from tests.deep.clients import Damage, Mix, damage_to
from tests.deep.volume import cut_power, make_volume, mounted
from tests.durability.without_flushes import without_flushes_of

FILE_SYSTEMS = ("ext4", "xfs")
UPLOADERS = 8
ACCOUNTS = 3
VOLUME_BYTES = 2 << 30
AFTERWARDS_SECONDS = 0.3
"""Seconds that the clients continue after the cut."""


def prove(bench: Bench) -> Verdict:
    """Losses over `bench.rounds` cuts of each file system, and those of the variants."""
    outcomes = [_prove_on(bench, kind) for kind in FILE_SYSTEMS]
    return Verdict("; ".join(figure for figure, _ in outcomes), all(holds for _, holds in outcomes))


def _prove_on(bench: Bench, kind: str) -> tuple[str, bool]:
    total, acknowledged = Damage(), 0
    for number in range(bench.rounds):
        count, damage = _cut(bench, kind, f"{kind}-cut{number}", number, None)
        total, acknowledged = total + damage, acknowledged + count
    figures = [f"{kind}: {bench.rounds} cuts, {acknowledged} acknowledged: {total}"]
    holds = not total and acknowledged > 0
    for flushes in ("S_ISREG", "S_ISDIR"):
        environment = without_flushes_of(flushes, os.path.join(bench.directory, f"{kind}-{flushes}-variant"))
        count, damage = _cut(bench, kind, f"{kind}-{flushes}", 99, environment)
        figures.append(f"variant without {flushes} flushes: {damage} of {count}")
        holds = holds and (bool(damage) or flushes == "S_ISDIR")
    reported, kept = _cut_before_flush(bench, kind, lambda calls: calls)
    figures.append(f"cut before the flush of a name: {'reported' if reported else 'NOT REPORTED'}")
    holds = holds and reported
    reported, kept = _cut_before_flush(bench, kind, _without_confirmation)
    outcome = "reported" if reported else "success"
    figures.append(f"variant without confirmation: {outcome}, {'kept' if kept else 'lost'}")
    holds = holds and (kind != "xfs" or not (reported or kept))
    return ", ".join(figures), holds


@contextmanager
def _volume(bench: Bench, kind: str, name: str) -> Iterator[tuple[list[str], str]]:
    """Return source and target of the mount; the image is removed at the end."""
    image, mount = (os.path.join(bench.directory, f"{name}.{suffix}") for suffix in ("image", "mount"))
    make_volume(kind, image, VOLUME_BYTES)
    try:
        yield ["-o", "loop", image], mount
    finally:
        os.unlink(image)


def _cut(
    bench: Bench, kind: str, name: str, seed: int, environment: dict[str, str] | None
) -> tuple[int, Damage]:
    """Cut the power once under load: how many changes were acknowledged, and the damage to them."""
    with _volume(bench, kind, name) as (source, mount):
        store = os.path.join(mount, "store")
        options = ("--store", store, "--images", os.path.join(mount, "images"))
        with mounted(source, mount):
            daemon = bench.start("--workers", "2", *options, name=name, environment=environment)
            mix = Mix(daemon, seed, uploaders=UPLOADERS, accounts=ACCOUNTS)
            time.sleep(random.Random(seed).uniform(0.5, 2.0))
            cut_power(mount)
            time.sleep(AFTERWARDS_SECONDS)
            memory = mix.end()
            daemon.end()
        with mounted(source, mount):
            try:
                again = bench.start("--workers", "1", *options, name=f"{name}-again")
            except AssertionError:  # a variant may have lost KEY, too
                return memory.count(), Damage(lost=memory.count())
            damage = damage_to(again, store, memory)
            damage.wrong = sum(
                name != hashlib.sha256(content).hexdigest() for name, content in stored_files(store)
            )
            again.end()
        return memory.count(), damage


def _cut_before_flush(bench: Bench, kind: str, change: Callable[[Syscalls], Syscalls]) -> tuple[bool, bool]:
    """Cut the power between a name and its flush: whether that is reported, and whether the name is kept."""
    own = algorithm("sha256")
    digest = own.parse(hashlib.sha256(b"content").hexdigest())
    with _volume(bench, kind, f"{kind}-flush") as (source, mount):
        store = os.path.join(mount, "store")
        with mounted(source, mount):
            prepare(store)
            disk = DiskBackend(store, own, change(_cutting(mount)), reserve=0)
            sink = disk.begin()
            sink.write(b"content")
            sink.seal()
            sink.publish(digest)
            reported = False
            try:
                disk.flush_names([digest])
            except OSError:
                reported = True
            sink.discard()
            disk.close()
        with mounted(source, mount):
            return reported, os.path.exists(os.path.join(store, digest.shard, digest.hex))


def _cutting(mount: str) -> Syscalls:
    """System calls that cut the power before each flush of a directory."""

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            cut_power(mount)
        os.fsync(descriptor)

    return dataclasses.replace(Syscalls(), fsync=fsync)


def _without_confirmation(calls: Syscalls) -> Syscalls:
    def pread(descriptor: int, count: int, offset: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/FORMAT"):
            return b"{"
        return calls.pread(descriptor, count, offset)

    return dataclasses.replace(calls, pread=pread)
