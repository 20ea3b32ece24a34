"""The catalog: what each change does, and that it does so in one step, however many others come between.

`Actor`s take turns at every single verb of the records, so each way in which two changes can come
between each other is tried, and each place at which one of them can die.
"""

import itertools
import time
from collections.abc import Callable

import pytest
from greenlet import getcurrent, greenlet
from hypothesis import given, settings
from hypothesis import strategies as st

from filestored.errors import AlreadyExists, NotFound
from filestored.images.accounts import Accounts
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.catalog import Catalog
from filestored.images.orphans import MIN_AGE_SECONDS, OrphanCleaner
from filestored.interfaces import Image
from filestored.storage.memory import MemoryBackend, MemoryRecords
from tests.images.samples import ids_of, listing, names_of
from tests.storage.contract import digest_of, put, read


def image(name="cat.png", data=b"cat"):
    return Image(name, "image/png", len(data), digest_of(data, UNIQUE_SHA256), gzipped=False)


@pytest.fixture
def catalog():
    catalog = Catalog(MemoryRecords(), "anna")
    catalog.records = catalog._records
    return catalog


# --- one after the other ---------------------------------------------------------------------------


def test_what_was_added_is_read_and_listed(catalog):
    cat = image()
    identity = catalog.add(cat)
    assert cat == catalog.read(identity)
    assert {"cat.png": identity} == ids_of(catalog)
    assert 4 == len(identity)


def test_an_empty_account_has_no_images(catalog):
    assert {} == ids_of(catalog)


@pytest.mark.parametrize("identity", ["none", "", "....", "a/b", "abcde", "жжжж", "../x"])
def test_an_id_that_means_nothing_is_not_found(catalog, identity):
    for verb in (catalog.read, catalog.remove, lambda identity: catalog.replace(identity, image())):
        with pytest.raises(NotFound, match="Image does not exist"):
            verb(identity)


def test_a_name_is_given_once(catalog):
    catalog.add(image())
    with pytest.raises(AlreadyExists, match="An image of this name exists"):
        catalog.add(image(data=b"another"))
    assert 1 == len(ids_of(catalog))
    assert 1 == len(catalog.records.names("accounts/anna/images"))


def test_two_accounts_may_have_the_same_name(catalog):
    other = Catalog(catalog.records, "bert")
    assert catalog.add(image()) != other.add(image())


def test_a_removed_image_is_gone_and_its_name_free(catalog):
    identity = catalog.add(cat := image())
    assert cat == catalog.remove(identity)
    assert {} == ids_of(catalog)
    assert [] == catalog.records.names("accounts")
    with pytest.raises(NotFound):
        catalog.read(identity)
    assert catalog.add(image())


@pytest.mark.parametrize("name", ["cat.png", "dog.png"])
def test_an_id_can_mean_another_image(catalog, name):
    identity = catalog.add(cat := image())
    dog = image(name, b"dog")
    assert cat == catalog.replace(identity, dog)
    assert dog == catalog.read(identity)
    assert {name: identity} == ids_of(catalog) == names_of(catalog.records)


def test_an_image_does_not_get_the_name_of_another(catalog):
    first, second = catalog.add(image()), catalog.add(dog := image("dog.png"))
    with pytest.raises(AlreadyExists):
        catalog.replace(second, image("cat.png", b"dog"))
    assert dog == catalog.read(second)
    assert {"cat.png": first, "dog.png": second} == ids_of(catalog)


def test_a_name_that_was_given_up_is_free(catalog):
    identity = catalog.add(image())
    catalog.replace(identity, image("dog.png"))
    assert catalog.add(image("cat.png"))


@pytest.mark.parametrize("name", ["a/b", "..", "%2e.", "\0", "ж" * 127, "Ёжик 🦔.png", "\n"])
def test_any_name_is_kept_as_it_is(catalog, name):
    identity = catalog.add(image(name))
    assert {name: identity} == ids_of(catalog)


def test_ids_are_not_used_twice(catalog, monkeypatch):
    list_images = iter(["AAAA", "AAAA", "AAAA", "BBBB"])
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: next(list_images))
    assert ["AAAA", "BBBB"] == [catalog.add(image(name)) for name in ("cat", "dog")]


# --- all at once -------------------------------------------------------------------------------------


class Stepping(MemoryRecords):
    """Records that let somebody else go on before each verb."""

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
    """What an actor runs in; a test runs in a greenlet of pytest-twisted."""


class Actor:
    """Somebody who changes something, and what came of it."""

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
    """An account with two images, `a` and `b`, and changes to it; it keeps the books of all bytes."""

    def __init__(self) -> None:
        self.records = Stepping()
        self.catalog = Catalog(self.records, "anna")
        self.accounts = Accounts(self.records, b"key")
        self.accounts.register("anna")
        self.list_images = [self.catalog.add(image(name)) for name in "ab"]
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
        """What a gallery does with bytes: forgets the old ones, or the new ones when they are refused."""
        try:
            identity, old = work()
        except (AlreadyExists, NotFound):
            self.forgotten += [new] if new else []
            raise
        self.forgotten += [old] if old else []
        self.kept += [new] if new else []
        return identity

    def check(self) -> None:
        """Nobody's bytes are forgotten but seen, or forgotten twice, and no name has two images."""
        seen = listing(self.records)
        blobs = [each.blob for each in self.forgotten]
        assert len(blobs) == len(set(blobs))
        assert set() == {each.blob for each in seen.values()} & set(blobs)
        visible = [identity for identity in self._recorded() if self.catalog._find(identity)]
        assert len(visible) == len(seen)

    def check_quiet(self) -> None:
        """Everybody has come to an end: what was acknowledged and not forgotten is there, nothing else is."""
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
    *(("replace", which, name) for which in (0, 1) for name in "abc"),
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
"""How many more steps a change may take when another one has come between."""

LENGTHS = {change: steps_of(change) for change in CHANGES}


@pytest.mark.parametrize(
    ("one", "other"),
    list(itertools.combinations_with_replacement(CHANGES, 2)),
    ids=lambda change: "-".join(map(str, change)),
)
def test_two_changes_at_once_are_one_after_the_other(one, other):
    """All schedules of two changes with up to three switches between them."""
    possible = any(succeeds_alone(change) for change in (one, other))
    for first, second in ((one, other), (other, one)):
        for stage, actors in schedules(first, second):
            stage.check_quiet()
            assert possible == bool(winners(actors))


def schedules(first, second):
    for steps, others in itertools.product(range(LENGTHS[first]), range(1, LENGTHS[second] + DETOUR)):
        stage = Stage()
        actors = [stage.actor(first), stage.actor(second)]
        for actor, count in zip(actors, (steps, others), strict=True):
            for _ in range(count):
                actor.step()
        for actor in actors:
            actor.finish()
        yield stage, actors


def succeeds_alone(change) -> bool:
    actor = Stage().actor(change)
    actor.finish()
    return bool(winners([actor]))


def test_without_the_fence_an_image_would_be_lost(monkeypatch):
    """The twin: the same schedules find out a catalog that takes claims over without looking back."""
    monkeypatch.setattr(Catalog, "_fence", lambda *_: True)
    found = 0
    for stage, _ in schedules(("replace", 0, "c"), ("add", "c")):
        try:
            stage.check_quiet()
        except AssertionError:
            found += 1
    assert found


def winners(actors) -> int:
    return sum(not isinstance(actor.outcome, Exception) for actor in actors)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: "-".join(map(str, change)))
def test_a_death_at_any_step_leaves_the_old_state_or_the_new(change):
    for step in range(LENGTHS[change] + 1):
        stage = Stage()
        before = listing(stage.records)
        stage.forgotten = []
        actor = stage.actor(change)
        for _ in range(step):
            actor.step()
        after = listing(stage.records)
        finished = Stage()
        finished.actor(change).finish()
        names = set(listing(finished.records))
        assert before == after or names == set(after)
        stage.check_sweep()


@pytest.mark.parametrize(
    ("dying", "coming"),
    list(itertools.product(CHANGES, CHANGES)),
    ids=lambda change: "-".join(map(str, change)),
)
def test_who_comes_after_a_death_is_not_in_its_way(dying, coming):
    for step in range(1, LENGTHS[dying]):
        stage = Stage()
        dead = stage.actor(dying)
        for _ in range(step):
            dead.step()
        living = stage.actor(coming)
        living.finish()
        stage.check()
        stage.check_sweep()


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(CHANGES), min_size=2, max_size=4),
    st.lists(st.integers(0, 3), max_size=60),
    st.booleans(),
)
def test_any_changes_in_any_order_keep_the_books(changes, schedule, finish):
    stage = Stage()
    actors = [stage.actor(change) for change in changes]
    for turn in schedule:
        actors[turn % len(actors)].step()
        stage.check()
    if finish:
        for actor in actors:
            actor.finish()
        stage.check_quiet()
    stage.check_sweep()


def test_of_many_who_want_a_name_one_gets_it():
    stage = Stage()
    actors = [stage.actor(("add", "c")) for _ in range(8)]
    while any(actor.alive for actor in actors):
        for actor in actors:
            actor.step()
    assert 1 == winners(actors)
    stage.check_quiet()
