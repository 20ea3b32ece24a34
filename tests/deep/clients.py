"""Clients that change something all the time, and remember what was acknowledged.

Each client owns what it makes: files, or one account with its images. `Memory` holds what must be there
afterwards, and what must not. What was asked for and not acknowledged may be either.
"""

import contextlib
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import requests
from PIL import Image

from tests.daemon_process import Running
from tests.deep.bench import stored_files

FILE_SIZES = (100, 5_000, 70_000, 600_000)
DELETED_SHARE = 0.2
TIMEOUT = 30


@dataclass
class Memory:
    """Acknowledged data: files by digest, tokens by account, images by account and id."""

    files: dict[str, bytes] = field(default_factory=dict)
    deleted_files: set[str] = field(default_factory=set)
    accounts: dict[str, str] = field(default_factory=dict)
    images: dict[tuple[str, str], bytes] = field(default_factory=dict)
    deleted_images: set[tuple[str, str]] = field(default_factory=set)

    def copied(self) -> "Memory":
        """Return what was acknowledged until now."""
        return Memory(
            self.files.copy(),
            self.deleted_files.copy(),
            self.accounts.copy(),
            self.images.copy(),
            self.deleted_images.copy(),
        )

    def count(self) -> int:
        """Count the acknowledged items."""
        kinds = (self.files, self.deleted_files, self.accounts, self.images, self.deleted_images)
        return sum(map(len, kinds))


@dataclass
class Damage:
    """Counts of lost items, of deleted items that are back, and of files with wrong content."""

    lost: int = 0
    back: int = 0
    wrong: int = 0

    def __bool__(self) -> bool:
        return bool(self.lost or self.back or self.wrong)

    def __add__(self, other: "Damage") -> "Damage":
        return Damage(self.lost + other.lost, self.back + other.back, self.wrong + other.wrong)

    def __str__(self) -> str:
        return f"{self.lost} lost, {self.back} back, {self.wrong} wrong"


class Mix:
    """Uploaders of files and of images, from now until `end`. Files go to the bucket at the path `base`."""

    def __init__(self, daemon: Running, seed: int, *, uploaders: int, accounts: int, base: str = "") -> None:
        self.memory = Memory()
        self._url = daemon.url
        self._files_url = daemon.url + base
        self._over = threading.Event()
        works: list[Callable[[requests.Session, random.Random], None]] = [self._files] * uploaders
        works += [self._images] * accounts
        self._threads = [
            threading.Thread(target=self._work, args=(work, 1000 * seed + number))
            for number, work in enumerate(works)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> Memory:
        """Stop all clients; returns what was acknowledged."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.memory

    def _work(self, work: Callable[[requests.Session, random.Random], None], seed: int) -> None:
        dice = random.Random(seed)
        with requests.Session() as session:
            while not self._over.is_set():
                with contextlib.suppress(requests.RequestException):
                    work(session, dice)

    def _files(self, session: requests.Session, dice: random.Random) -> None:
        """Upload a file, and sometimes delete it again."""
        content = dice.randbytes(dice.choice(FILE_SIZES))
        answer = session.post(self._files_url, data=content, timeout=TIMEOUT)
        if not answer.ok:
            return
        digest = answer.text
        self.memory.files[digest] = content
        if dice.random() < DELETED_SHARE:
            del self.memory.files[digest]
            if session.delete(f"{self._files_url}files/{digest}", timeout=TIMEOUT).ok:
                self.memory.deleted_files.add(digest)

    def _images(self, session: requests.Session, dice: random.Random) -> None:
        """Make an account, upload three images, delete one of them."""
        name = f"user_{dice.getrandbits(64):x}"
        answer = session.get(f"{self._url}imageapi/generate-token/{name}/", timeout=TIMEOUT)
        if not answer.ok:
            return
        self.memory.accounts[name] = token = answer.json()["token"]
        home = f"{self._url}imageapi/token/{token}/"
        for number in range(3):
            data = _pixel(dice.randrange(256))
            files = {"image": (f"{number}.png", data)}
            answer = session.post(f"{home}upload-image/", files=files, timeout=TIMEOUT)
            if not answer.ok:
                return
            self.memory.images[name, answer.json()["File ID"]] = data
        deleted = name, answer.json()["File ID"]
        del self.memory.images[deleted]
        if session.delete(f"{home}delete-image/{deleted[1]}/", timeout=TIMEOUT).ok:
            self.memory.deleted_images.add(deleted)


def damage_to(daemon: Running, store: str, memory: Memory) -> Damage:
    """Compare the files below `store`, and the images that `daemon` serves, with what was acknowledged."""
    found = dict(stored_files(store))
    damage = Damage(
        lost=sum(found.get(digest) != content for digest, content in memory.files.items()),
        back=len(memory.deleted_files & set(found)),
    )
    return damage + damage_to_images(daemon, memory)


def damage_served(daemon: Running, memory: Memory) -> Damage:
    """Compare the files and images that `daemon` serves with what was acknowledged."""
    damage = Damage()
    with requests.Session() as session:
        for digest in {*memory.files, *memory.deleted_files}:
            answer = session.get(f"{daemon.url}files/{digest}", timeout=TIMEOUT)
            found = answer.content if answer.ok else None
            damage.lost += digest in memory.files and found != memory.files[digest]
            damage.back += digest in memory.deleted_files and answer.status_code != 404
    return damage + damage_to_images(daemon, memory)


def damage_to_images(daemon: Running, memory: Memory) -> Damage:
    """Compare the accounts and images that `daemon` serves with what was acknowledged."""
    damage = Damage()
    with requests.Session() as session:
        for name, token in memory.accounts.items():
            home = f"{daemon.url}imageapi/token/{token}/"
            answer = session.get(f"{home}get-image-list/", timeout=TIMEOUT)
            there = set(answer.json().values()) if answer.ok else set()
            damage.lost += not answer.ok
            damage.back += sum((name, identity) in memory.deleted_images for identity in there)
            for owner, identity in memory.images:
                if owner == name:
                    image = session.get(f"{home}get-image/{identity}/", timeout=TIMEOUT)
                    damage.lost += identity not in there or image.content != memory.images[owner, identity]
    return damage


def _pixel(level: int) -> bytes:
    """A PNG of one grey pixel."""
    data = BytesIO()
    Image.new("L", (1, 1), level).save(data, "PNG")
    return data.getvalue()
