"""rclone copies a store with images from a disk to a bucket, and from there to another disk.

Clients make files and images on each, and delete some of them. The daemon on the copy has to serve the same
bytes, lists and thumbnails, and nothing that was deleted; then it is changed itself before the next copy.
"""

import os
import time

import requests

from tests.balanced_daemons import FILES, IMAGES
from tests.daemon_process import Running
from tests.deep.bench import Bench, Verdict
from tests.deep.clients import Damage, Memory, Mix, damage_served
from tests.deep.engine import engine, start_on
from tests.rclone import copy_to_bucket, copy_to_directory

FILE_CLIENTS = 3
IMAGE_CLIENTS = 3
PARTS = {"store": FILES, "images": IMAGES}
"""Directories of a daemon, and their prefixes in the bucket."""

Thumbnails = dict[tuple[str, str], bytes]
"""Thumbnails by account and image id."""


def prove(bench: Bench) -> Verdict:
    """Damage on each copy, and thumbnails that differ."""
    memory, figures, damage = Memory(), [], Damage()
    with engine(bench, "rclone") as server:
        prefix = server.make_prefix()
        disk, other = os.path.join(bench.directory, "disk"), os.path.join(bench.directory, "other")
        first = bench.start("--workers", "1", name="disk")
        thumbnails = _change(first, memory, 1, bench.seconds)
        for part, name in PARTS.items():
            copy_to_bucket(os.path.join(disk, part), prefix.below(name))
        second = start_on(bench, prefix, name="bucket")
        damage += _compare(second, memory, thumbnails, figures)
        thumbnails = _change(second, memory, 2, bench.seconds)
        for part, name in PARTS.items():
            copy_to_directory(prefix.below(name), os.path.join(other, part))
        third = bench.start("--workers", "1", name="other")
        damage += _compare(third, memory, thumbnails, figures)
        _change(third, memory, 3, 1.0)
        damage += damage_served(third, memory)
    return Verdict(", then ".join(figures), not damage)


def _compare(daemon: Running, memory: Memory, thumbnails: Thumbnails, figures: list[str]) -> Damage:
    """Return the damage on a copy, with a figure for it."""
    found = damage_served(daemon, memory)
    made = _thumbnails(daemon, memory)
    found.wrong += sum(made[key] != thumbnails[key] for key in thumbnails)
    figures.append(f"{memory.count()} items copied: {found}")
    return found


def _change(daemon: Running, memory: Memory, seed: int, seconds: float) -> Thumbnails:
    """Add what clients make in this time, delete some of what is there; return thumbnails of the rest."""
    mix = Mix(daemon, seed, uploaders=FILE_CLIENTS, accounts=IMAGE_CLIENTS)
    _delete_some(daemon, memory)
    time.sleep(seconds / 3)
    made = mix.end()
    memory.files |= made.files
    memory.deleted_files |= made.deleted_files
    memory.accounts |= made.accounts
    memory.images |= made.images
    memory.deleted_images |= made.deleted_images
    return _thumbnails(daemon, memory)


def _delete_some(daemon: Running, memory: Memory) -> None:
    """Delete each fifth file and image."""
    with requests.Session() as session:
        for digest in list(memory.files)[::5]:
            if session.delete(f"{daemon.url}files/{digest}", timeout=30).ok:
                memory.deleted_files.add(digest)
            del memory.files[digest]
        for name, identity in list(memory.images)[::5]:
            url = f"{daemon.url}imageapi/token/{memory.accounts[name]}/delete-image/{identity}/"
            if session.delete(url, timeout=30).ok:
                memory.deleted_images.add((name, identity))
            del memory.images[name, identity]


def _thumbnails(daemon: Running, memory: Memory) -> Thumbnails:
    """Return the thumbnails of some images."""
    found = {}
    with requests.Session() as session:
        for name, identity in list(memory.images)[:50]:
            url = f"{daemon.url}imageapi/token/{memory.accounts[name]}/get-image/{identity}/?width=8"
            found[name, identity] = session.get(url, timeout=30).content
    return found
