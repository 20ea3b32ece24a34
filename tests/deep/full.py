"""P7 and P25: a full, inode-less or read-only disk refuses uploads, and goes on reading and deleting.

Each cause is brought about on a tmpfs and on ext4, with files and images there. While it lasts the daemon
runs on, loses all workers, and is restarted; then the cause comes again, without a restart. Each stored file
and image has to be answered, uploads are 507 or 503, and deletes work where there is anything to write with.
When the cause ends, uploads have to work again within 15 s, without a restart.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import requests

from tests.daemon_process import Running, until
from tests.deep.bench import Bench, Verdict
from tests.deep.volume import make_volume, mounted
from tests.images.decodable_images import PICTURE, encode

MIB = 1 << 20
RESERVE = 256 * MIB
"""Bytes that the store always leaves free."""

FILES = 20
RECOVERY_SECONDS = 15.0

Cause = Callable[[str], "contextlib.AbstractContextManager[Callable[[], None]]"]
"""Begins with a mount point, and gives the function that uses up what a delete has freed."""


@contextlib.contextmanager
def no_blocks(mount: str) -> Iterator[Callable[[], None]]:
    """A file that takes every block, while the context lasts."""
    with open(os.path.join(mount, "filler"), "wb") as file:

        def fill() -> None:
            for size in (MIB, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)

        fill()
        yield fill
    os.unlink(file.name)


@contextlib.contextmanager
def no_inodes(mount: str) -> Iterator[Callable[[], None]]:
    """Empty files that take every inode, while the context lasts."""
    made: list[str] = []

    def fill() -> None:
        with contextlib.suppress(OSError):
            while True:
                path = os.path.join(mount, f"filler{len(made)}")
                os.close(os.open(path, os.O_CREAT | os.O_EXCL))
                made.append(path)

    fill()
    yield fill
    for path in made:
        os.unlink(path)


@contextlib.contextmanager
def read_only(mount: str) -> Iterator[Callable[[], None]]:
    """The file system is mounted read-only while the context lasts."""
    subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
    yield lambda: None
    subprocess.run(["mount", "-o", "remount,rw", mount], check=True)


CAUSES: dict[str, tuple[Cause, set[int]]] = {
    "no blocks": (no_blocks, {507}),
    "no inodes": (no_inodes, {507}),
    "read-only": (read_only, {503}),
}
"""Each cause with the statuses of an upload while it lasts."""


def prove(bench: Bench) -> Verdict:
    """All causes on both kinds of file systems; the sentence names what went wrong."""
    figures, good = [], True
    for kind in ("tmpfs", "ext4"):
        for name, (cause, refused) in CAUSES.items():
            directory = os.path.join(bench.directory, f"{kind} {name}".replace(" ", "-"))
            with mounted(_source(kind, directory), f"{directory}.mount"):
                trial = Trial(bench, f"{directory}.mount", refused)
                seconds = trial.check(cause)
            words = "; ".join(dict.fromkeys(trial.wrong)) or f"recovers in {seconds:.0f} s"
            figures.append(f"{kind}, {name}: {trial.read} reads, {words}")
            good = good and not trial.wrong
    return Verdict(". ".join(figures), good)


def _source(kind: str, directory: str) -> list[str]:
    if kind == "tmpfs":
        return ["-t", "tmpfs", "-o", f"size={RESERVE + 64 * MIB},nr_inodes=3000", "none"]
    make_volume("ext4", f"{directory}.image", RESERVE + 128 * MIB, "-m", "0", "-N", "3000")
    return ["-o", "loop", f"{directory}.image"]


@dataclass
class Trial:
    """One daemon after the other on one file system; `wrong` is what should not have happened."""

    bench: Bench
    mount: str
    refused: set[int]
    wrong: list[str] = field(default_factory=list)
    read: int = 0
    _contents: dict[str, bytes] = field(default_factory=dict)
    _images: list[str] = field(default_factory=list)

    def check(self, cause: Cause) -> float:
        """Go through all stages; the seconds until uploads worked again."""
        try:
            return self._run(cause)
        except (AssertionError, requests.RequestException) as error:
            self.wrong.append(f"{type(error).__name__}: {error}"[:200])
            return 0.0
        finally:
            self.bench.end()

    def _run(self, cause: Cause) -> float:
        daemon = self._start()
        self._fill(daemon)
        with cause(self.mount) as fill:
            self._check(daemon, "running")
            fill()
            for pid in daemon.workers():
                os.kill(pid, signal.SIGKILL)
            until(lambda: len(daemon.workers()) == 2, "two new workers")
            self._check(daemon, "workers killed")
            daemon.end()
            self._remove_an_empty_shard()
            fill()
            daemon = self._start()
            self._check(daemon, "restarted")
        seconds = self._recover(daemon)
        with cause(self.mount):
            self._check(daemon, "a second time, running")
        seconds = max(seconds, self._recover(daemon))
        self._check_reads(daemon, "recovered")
        daemon.end()
        return seconds

    def _start(self) -> Running:
        words = ["--store", os.path.join(self.mount, "store"), "--images", os.path.join(self.mount, "images")]
        if 507 in self.refused:  # a log that is open keeps a file system from being mounted read-only
            words += ["--log", os.path.join(self.mount, "log"), "--access-log", f"{self.mount}/access"]
        return self.bench.start("--workers", "2", *words, name=os.path.basename(self.mount) + "-daemon")

    def _fill(self, daemon: Running) -> None:
        for number in range(FILES):
            content = os.urandom(1000 + number)
            answer = requests.post(daemon.url, data=content, timeout=30)
            answer.raise_for_status()
            self._contents[answer.text] = content
        answer = requests.get(f"{daemon.url}imageapi/generate-token/anna/", timeout=30)
        self._account = f"{daemon.url}imageapi/token/{answer.json()['token']}/"
        for number in range(6):
            answer = self._send_image(number)
            answer.raise_for_status()
            self._images.append(answer.json()["File ID"])

    def _check(self, daemon: Running, stage: str) -> None:
        """Reads, a refused upload of each kind, and a delete of each."""
        self._account = f"{daemon.url}imageapi/{self._account.partition('/imageapi/')[2]}"
        self._check_reads(daemon, stage)
        for kind, answer in (
            ("file", requests.post(daemon.url, data=os.urandom(5000), timeout=30)),
            ("image", self._send_image(100)),
        ):
            if answer.status_code not in self.refused:
                self.wrong.append(f"{stage}: an upload of a {kind} is {answer.status_code}")
        if 507 in self.refused:
            self._check_deletes(daemon, stage)

    def _check_reads(self, daemon: Running, stage: str) -> None:
        for digest, content in self._contents.items():
            answer = requests.get(f"{daemon.url}files/{digest}", timeout=30)
            self._count(answer.content == content, f"{stage}: a file is not read")
        for identity in self._images:
            answer = requests.get(f"{self._account}get-image/{identity}/", timeout=30)
            self._count(answer.ok, f"{stage}: an image is not read")

    def _count(self, good: bool, words: str) -> None:
        self.read += good
        if not good:
            self.wrong.append(words)

    def _check_deletes(self, daemon: Running, stage: str) -> None:
        digest, _ = self._contents.popitem()
        identity = self._images.pop()
        for answer in (
            requests.delete(f"{daemon.url}files/{digest}", timeout=30),
            requests.delete(f"{self._account}delete-image/{identity}/", timeout=30),
        ):
            if not answer.ok:
                self.wrong.append(f"{stage}: a delete is {answer.status_code}")

    def _remove_an_empty_shard(self) -> None:
        """A shard that the start would make anew, and cannot."""
        for number in range(256):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(self.mount, "store", f"{number:02x}"))
                return

    def _recover(self, daemon: Running) -> float:
        """Upload until all is well; the seconds that this took."""
        began = time.monotonic()
        while time.monotonic() < began + RECOVERY_SECONDS:
            statuses = {
                requests.post(daemon.url, data=os.urandom(100), timeout=30).status_code for _ in range(20)
            }
            image = self._send_image(int(1000 * time.monotonic()))
            health = requests.get(f"{daemon.url}health", timeout=30)
            shards = len([name for name in os.listdir(os.path.join(self.mount, "store")) if len(name) == 2])
            if statuses == {200} and image.ok and health.ok and shards == 256:
                return time.monotonic() - began
            time.sleep(0.2)
        self.wrong.append(f"no recovery: {statuses}, image {image.status_code}, {shards} shards")
        return time.monotonic() - began

    def _send_image(self, number: int) -> requests.Response:
        data = encode(PICTURE.resize((8 + number % 50, 8)), "PNG")
        files = {"image": (f"{number}.png", data)}
        return requests.post(f"{self._account}upload-image/", files=files, timeout=30)
