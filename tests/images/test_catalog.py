"""The catalog: what each change does, and that it does so in one step, however many others come between.

`Actor`s take turns at every single verb of the records, so each way in which two changes can come
between each other is tried, and each place at which one of them can die.
"""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filestored.errors import AlreadyExists, NotFound
from filestored.images.catalog import Catalog
from filestored.images.catalog_records import ImageRecord, claim_for
from filestored.storage.memory import MemoryRecords
from tests.images.catalog_samples import ids_of, listing, names_of
from tests.images.interleaved_changes import (
    CHANGES,
    COMPOSED,
    DECOMPOSED,
    DETOUR,
    LENGTHS,
    Stage,
    image,
)


@pytest.fixture
def catalog():
    catalog = Catalog(MemoryRecords(), "anna")
    catalog.records = catalog._records
    return catalog


# --- one after the other ---------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_names_that_are_equal_in_nfc_are_one_name(catalog, names):
    first, second = names
    identity = catalog.add(image(first))
    with pytest.raises(AlreadyExists):
        catalog.add(image(second))
    other = catalog.add(image("dog.png"))
    with pytest.raises(AlreadyExists):
        catalog.replace(other, image(second))
    assert {first: identity, "dog.png": other} == ids_of(catalog)
    catalog.replace(identity, image(second))
    assert {second: identity, "dog.png": other} == ids_of(catalog)
    assert second == catalog.read(identity).name
    catalog.remove(identity)
    assert ["dog.png"] == list(names_of(catalog.records))


@pytest.fixture
def former_catalog(catalog):
    """A catalog of a former version: an image in each form of a name, with a claim in that form."""
    for identity, name in (("AAAA", COMPOSED), ("BBBB", DECOMPOSED)):
        catalog.records.create(f"accounts/anna/images/{identity}", ImageRecord.of(image(name)).to_record())
        catalog.records.create(f"accounts/anna/names/{name}", claim_for(name, identity))
    return catalog


def test_two_former_images_whose_names_are_equal_in_nfc_stay(former_catalog):
    assert {COMPOSED: "AAAA", DECOMPOSED: "BBBB"} == ids_of(former_catalog)
    assert DECOMPOSED == former_catalog.read("BBBB").name
    former_catalog.replace("BBBB", image(DECOMPOSED))
    for identity, name in (("AAAA", DECOMPOSED), ("BBBB", COMPOSED)):
        with pytest.raises(AlreadyExists):
            former_catalog.replace(identity, image(name))
    assert {COMPOSED: "AAAA", DECOMPOSED: "BBBB"} == ids_of(former_catalog)


@pytest.mark.parametrize(("removed", "kept"), [("AAAA", "BBBB"), ("BBBB", "AAAA")])
def test_name_of_former_images_is_free_when_both_are_removed(former_catalog, removed, kept):
    former_catalog.remove(removed)
    for name in (COMPOSED, DECOMPOSED):
        with pytest.raises(AlreadyExists):
            former_catalog.add(image(name))
    former_catalog.remove(kept)
    assert {} == names_of(former_catalog.records)
    assert {COMPOSED: former_catalog.add(image(COMPOSED))} == ids_of(former_catalog)


def test_former_image_is_renamed_to_the_composed_form(former_catalog):
    former_catalog.remove("AAAA")
    former_catalog.replace("BBBB", image(COMPOSED))
    assert {COMPOSED: "BBBB"} == ids_of(former_catalog)
    assert [f"accounts/anna/names/{COMPOSED}"] == list(former_catalog.records.names("accounts/anna/names"))


def test_added_image_is_read_and_listed(catalog):
    cat = image()
    identity = catalog.add(cat)
    assert cat == catalog.read(identity)
    assert {"cat.png": identity} == ids_of(catalog)
    assert 4 == len(identity)


def test_empty_account_lists_no_images(catalog):
    assert {} == ids_of(catalog)


@pytest.mark.parametrize("identity", ["none", "", "....", "a/b", "abcde", "жжжж", "../x"])
def test_unknown_id_is_not_found(catalog, identity):
    for verb in (catalog.read, catalog.remove, lambda identity: catalog.replace(identity, image())):
        with pytest.raises(NotFound, match="Image does not exist"):
            verb(identity)


def test_name_is_taken_once(catalog):
    catalog.add(image())
    with pytest.raises(AlreadyExists, match="An image of this name exists"):
        catalog.add(image(data=b"another"))
    assert 1 == len(ids_of(catalog))
    assert 1 == len(catalog.records.names("accounts/anna/images"))


def test_two_accounts_may_use_the_same_image_name(catalog):
    other = Catalog(catalog.records, "bert")
    assert catalog.add(image()) != other.add(image())


def test_removed_image_is_not_found_and_its_name_is_free(catalog):
    identity = catalog.add(cat := image())
    assert cat == catalog.remove(identity)
    assert {} == ids_of(catalog)
    assert [] == catalog.records.names("accounts")
    with pytest.raises(NotFound):
        catalog.read(identity)
    assert catalog.add(image())


@pytest.mark.parametrize("name", ["cat.png", "dog.png"])
def test_replace_keeps_the_id(catalog, name):
    identity = catalog.add(cat := image())
    dog = image(name, b"dog")
    assert cat == catalog.replace(identity, dog)
    assert dog == catalog.read(identity)
    assert {name: identity} == ids_of(catalog) == names_of(catalog.records)


def test_replace_refuses_the_name_of_another_image(catalog):
    first, second = catalog.add(image()), catalog.add(dog := image("dog.png"))
    with pytest.raises(AlreadyExists):
        catalog.replace(second, image("cat.png", b"dog"))
    assert dog == catalog.read(second)
    assert {"cat.png": first, "dog.png": second} == ids_of(catalog)


def test_released_name_is_free(catalog):
    identity = catalog.add(image())
    catalog.replace(identity, image("dog.png"))
    assert catalog.add(image("cat.png"))


@pytest.mark.parametrize("name", ["a/b", "..", "%2e.", "\0", "ж" * 127, "Ёжик 🦔.png", "\n"])
def test_any_name_is_stored_unchanged(catalog, name):
    identity = catalog.add(image(name))
    assert {name: identity} == ids_of(catalog)


def test_used_id_is_not_chosen_again(catalog, monkeypatch):
    list_images = iter(["AAAA", "AAAA", "AAAA", "BBBB"])
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: next(list_images))
    assert ["AAAA", "BBBB"] == [catalog.add(image(name)) for name in ("cat", "dog")]


# --- all at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    list(itertools.combinations_with_replacement(CHANGES, 2)),
    ids=lambda change: "-".join(map(str, change)),
)
def test_two_concurrent_changes_are_serialisable(one, other):
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


def test_catalog_that_rewrites_no_nonce_loses_an_image(monkeypatch):
    """Counter-test: the same schedules find the fault of a catalog that takes over claims unchecked."""
    monkeypatch.setattr(Catalog, "_rewrite_nonce", lambda *_: True)
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
def test_crash_at_any_step_leaves_the_old_or_the_new_state(change):
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
def test_change_after_a_crash_succeeds(dying, coming):
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
def test_any_sequence_of_changes_agrees_with_a_model(changes, schedule, finish):
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


def test_one_of_many_concurrent_claims_wins_a_name():
    stage = Stage()
    actors = [stage.actor(("add", "c")) for _ in range(8)]
    while any(actor.alive for actor in actors):
        for actor in actors:
            actor.step()
    assert 1 == winners(actors)
    stage.check_quiet()
