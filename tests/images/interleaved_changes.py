"""Concurrent changes of one account, switched between any two calls of its records."""

import time
from collections.abc import Callable

from greenlet import getcurrent, greenlet

from filestored.errors import AlreadyExists, NotFound
from filestored.images.accounts import Accounts
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.catalog import Catalog
from filestored.images.orphans.cleaner import MIN_AGE_SECONDS, OrphanCleaner
from filestored.interfaces import Image
from filestored.storage.memory import MemoryBackend, MemoryRecords
from tests.images.catalog_samples import listing
from tests.storage.contract import digest_of, put, read

COMPOSED, DECOMPOSED = "\u00e9.png", "e\u0301.png"
"""Two forms of one name, which are equal in NFC."""


def image(name="cat.png", data=b"cat"):
    return Image(name, "image/png", len(data), digest_of(data, UNIQUE_SHA256), gzipped=False)


class Stepping(MemoryRecords):
    """Records that switch to another actor before each call."""

    def __init__(self):
        super().__init__()
        for verb in ("create", "replace", "remove", "read", "names"):
            setattr(self, verb, self._pausing(getattr(self, verb)))

    def read_all(self, prefix):
        for each in super().read_all(prefix):
            self._pause()
            yield each

    def _pausing(self, verb):
        def paused(*args):
            self._pause()
            return verb(*args)

        return paused

    def _pause(self):
        if isinstance(getcurrent(), Fiber):
            getcurrent().parent.switch()


class Fiber(greenlet):
    """The greenlet of an actor; a test runs in one of pytest-twisted."""


class Actor:
    """A change in progress, and its outcome."""

    def __init__(self, work: Callable[[], object]):
        self.outcome: object = None
        self.alive = True
        self._work = work
        self._fiber = Fiber(self._run)

    def step(self) -> None:
        if self.alive:
            self._fiber.switch()

    def finish(self) -> None:
        while self.alive:
            self.step()

    def _run(self) -> None:
        try:
            self.outcome = self._work()
        except (AlreadyExists, NotFound) as error:
            self.outcome = error
        self.alive = False


class Stage:
    """An account with two images, `a` and `DECOMPOSED`, and changes to it; it records all blobs."""

    def __init__(self) -> None:
        self.records = Stepping()
        self.catalog = Catalog(self.records, "anna")
        self.accounts = Accounts(self.records, b"key")
        self.accounts.register("anna")
        self.list_images = [self.catalog.add(image(name)) for name in ("a", DECOMPOSED)]
        self.forgotten: list[Image] = []
        self.kept: list[Image] = [self.catalog.read(identity) for identity in self.list_images]

    def actor(self, change) -> Actor:
        kind, *args = change
        return Actor(lambda: getattr(self, kind)(*args))

    def add(self, name):
        return self._account(new := image(name, b"new"), lambda: (self.catalog.add(new), None))

    def replace(self, which, name):
        new = image(name, b"other")
        return self._account(
            new, lambda: (self.list_images[which], self.catalog.replace(self.list_images[which], new))
        )

    def remove(self, which):
        return self._account(None, lambda: ("", self.catalog.remove(self.list_images[which])))

    def _account(self, new, work):
        """Delete the old blob as a gallery does, or the new one when it is refused."""
        try:
            identity, old = work()
        except (AlreadyExists, NotFound):
            self.forgotten += [new] if new else []
            raise
        self.forgotten += [old] if old else []
        self.kept += [new] if new else []
        return identity

    def check(self) -> None:
        """Check that no visible blob is deleted, none is deleted twice, and no name has two images."""
        seen = listing(self.records)
        blobs = [each.blob for each in self.forgotten]
        assert len(blobs) == len(set(blobs))
        assert set() == {each.blob for each in seen.values()} & set(blobs)
        visible = [identity for identity in self._recorded() if self.catalog._find(identity)]
        assert len(visible) == len(seen)

    def check_quiet(self) -> None:
        """Check the end: all acknowledged blobs that were not deleted are there, and no others."""
        self.check()
        seen = {each.blob for each in listing(self.records).values()}
        assert {each.blob for each in self.kept} - {each.blob for each in self.forgotten} == seen

    def check_sweep(self) -> None:
        """The sweep moves no bytes that are seen, all others, and changes no record of the account."""
        before = listing(self.records)
        backend = MemoryBackend(UNIQUE_SHA256)
        for each in before.values():
            put(backend, b"seen", each.blob)
        put(backend, b"orphan", digest_of(b"orphan", UNIQUE_SHA256))
        values = {name: self.records.read(name) for name in self.records.names("accounts")}
        swept = OrphanCleaner(
            self.records, self.accounts, backend, now=time.time() + 2 * MIN_AGE_SECONDS
        ).run()
        assert (1, None) == (swept.moved, swept.refusal)
        assert values == {name: self.records.read(name) for name in self.records.names("accounts")}
        assert before == listing(self.records)
        assert {each.blob for each in before.values()} == set(backend.digests(None, 100))
        assert all(read(backend, each.blob) == b"seen" for each in before.values())

    def _recorded(self):
        return [name.rpartition("/")[2] for name in self.records.names("accounts/anna/images")]


CHANGES = [
    *(("add", name) for name in "ac"),
    *(("replace", which, name) for which in (0, 1) for name in ("a", DECOMPOSED, "c")),
    ("replace", 1, COMPOSED),
    *(("remove", which) for which in (0, 1)),
]


def steps_of(change) -> int:
    stage, count = Stage(), 0
    actor = stage.actor(change)
    while actor.alive:
        actor.step()
        count += 1
    return count


DETOUR = 9
"""Maximum number of extra steps of a change that another one interrupts."""


LENGTHS = {change: steps_of(change) for change in CHANGES}
