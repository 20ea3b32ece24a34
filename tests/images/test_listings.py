"""Lists of images: right whatever is changed meanwhile, and their work is bounded."""

import errno
import itertools
import json
import os

import pytest
from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.logger import globalLogPublisher

from filestored.errors import Overloaded
from filestored.images.catalog import Catalog
from filestored.images.filenames import canonical
from filestored.images.listings import MAX_LISTINGS, STEP_RECORDS, Listings
from filestored.interfaces import Image
from filestored.request_context import call_for_request
from filestored.storage.disk.records import DiskRecords, prepare
from filestored.storage.health import Health
from filestored.storage.memory import MemoryRecords
from filestored.storage.threads import IOThreads, RecordThreads
from tests.images.catalog_samples import ids_of
from tests.images.interleaved_changes import CHANGES, COMPOSED, LENGTHS, Actor, Stage, image
from tests.storage.contract import Workbench, outcome, watched

# --- what a list says --------------------------------------------------------------------------------


@pytest.fixture
def records():
    return MemoryRecords()


def values(records):
    return {name: records.read(name) for name in records.names("accounts")}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: "-".join(map(str, change)))
def test_listing_beside_a_change_shows_the_state_before_or_after(change):
    """All schedules in which the change begins and ends at any step of the list."""
    lists = {frozenset(ids_of(Stage().catalog))}
    for first, second in itertools.product(range(12), range(1, LENGTHS[change] + 1)):
        stage = Stage()
        before = ids_of(stage.catalog)
        lister, changer = Actor(lambda stage=stage: ids_of(stage.catalog)), stage.actor(change)
        for actor, steps in ((lister, first), (changer, second)):
            for _ in range(steps):
                actor.step()
        lister.finish()
        changer.finish()
        listed = set(lister.outcome)
        lists.add(frozenset(listed))
        assert listed in (set(before), set(ids_of(stage.catalog)))
    assert len(lists) <= 2


@pytest.mark.parametrize("name", [COMPOSED, "c"])
def test_stale_claim_of_a_crash_is_not_listed(name):
    """Each state that a death in the middle of a change leaves: the list says what the ids say, up to NFC."""
    for change, step in [(each, step) for each in CHANGES for step in range(LENGTHS[each] + 1)]:
        stage = Stage()
        actor = stage.actor(change)
        for _ in range(step):
            actor.step()
        listed = {canonical(each): identity for each, identity in ids_of(stage.catalog).items()}
        list_images = [key.rpartition("/")[2] for key in stage.records.names("accounts/anna/images")]
        assert listed == {
            canonical(found.image.name): identity
            for identity in list_images
            if (found := stage.catalog._find(identity))
        }
        assert name not in listed or canonical(stage.catalog.read(listed[name]).name) == name


def test_image_with_damaged_records_is_not_listed_but_reported(records):
    catalog = Catalog(records, "anna")
    list_images = {name: catalog.add(image(name)) for name in ("a", "b", "c")}
    for place in ("names/a", f"images/{list_images['b']}"):
        name = f"accounts/anna/{place}"
        records.replace(name, records.read(name), b"damaged")
    records.remove("accounts/anna/names/b", records.read("accounts/anna/names/b"))
    found = {}
    damaged = [identity for identity in catalog.list_into(found) if identity]
    assert sorted([list_images["a"], list_images["b"]]) == sorted(damaged)
    assert {"c": list_images["c"]} == found


@pytest.mark.parametrize(
    "value", [b"[]", b'{"id": [], "name": "a"}', b'{"id": "%s", "name": 1}', b"\xff"], ids=str
)
@pytest.mark.parametrize("where", ["names", "images"])
def test_damaged_record_hides_one_image(records, where, value):
    catalog = Catalog(records, "anna")
    list_images = {name: catalog.add(image(name)) for name in ("a", "b")}
    name = f"accounts/anna/names/{'a'}"
    records.replace(name, records.read(name), value.replace(b"%s", list_images["a"].encode()))
    if where == "images":
        name = f"accounts/anna/images/{list_images['a']}"
        records.replace(name, records.read(name), b'{"name": 1, "type": "", "size": 1}')
    found = {}
    assert [list_images["a"]] == [damaged for damaged in catalog.list_into(found) if damaged]
    assert {"b": list_images["b"]} == found


@pytest.mark.parametrize("where", ["names", "images"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE], ids=errno.errorcode.get)
def test_unreadable_record_hides_one_image_and_suspends_nothing(place, where, code):
    unreadable = []

    def fail(call, args):
        if call == "open" and args[0] in unreadable:
            raise OSError(code, os.strerror(code))

    prepare(place, "images")
    records, health = DiskRecords(place, watched(fail)), Health()
    catalog = Catalog(records, "anna")
    list_images = {name: catalog.add(image(name)) for name in ("a.png", "b.png")}
    unreadable.append("a.png")
    if where == "images":
        records.remove("accounts/anna/names/b.png", records.read("accounts/anna/names/b.png"))
        catalog.add(image("b.png"))
        unreadable[:] = [list_images["b.png"]]
    listed = outcome(Listings(RecordThreads(IOThreads.of(maybeDeferred), health)).list_images(catalog))
    if code == errno.EIO:
        assert {"a.png", "b.png"} - {"a.png" if where == "names" else ""} == set(listed)
    else:
        assert isinstance(listed, Overloaded)
    assert health.degraded is None
    records.close()


def test_unlistable_directory_suspends_nothing(place):
    scans = []

    def fail(call, args):
        if call == "scandir":
            scans.append(call)
        if call == "scandir" and len(scans) == 2:  # the directory of claims
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    prepare(place, "images")
    records, health = DiskRecords(place, watched(fail)), Health()
    catalog = Catalog(records, "anna")
    catalog.add(image("a.png"))
    answer = outcome(Listings(RecordThreads(IOThreads.of(maybeDeferred), health)).list_images(catalog))
    assert (True, None) == (isinstance(answer, OSError), health.degraded)
    records.close()


# --- how much it reads -------------------------------------------------------------------------------


def test_listing_opens_one_file_per_image_and_two_directories(place):
    opened = []
    prepare(place, "images")
    records = DiskRecords(
        place, watched(lambda call, args: opened.append(args[0]) if call == "open" else None)
    )
    catalog = Catalog(records, "anna")
    names = {f"{number}.png" for number in range(50)}
    for name in names:
        catalog.add(image(name))
    opened.clear()
    assert names == set(ids_of(catalog))
    assert names == {name for name in opened if name.endswith(".png")}
    assert 50 + 2 * len([".", "accounts", "anna", "images"]) == len(opened)
    records.close()


# --- how many at once --------------------------------------------------------------------------------


class Desk:
    """Listings whose jobs are done one by one, of accounts with some images."""

    def __init__(self, users=1, images=1):
        self.records = MemoryRecords()
        self.bench = Workbench()
        self.listings = Listings(RecordThreads(IOThreads.of(self.bench), Health()))
        self.catalogs = [Catalog(self.records, f"user_{number}") for number in range(users)]
        for catalog, number in itertools.product(self.catalogs, range(images)):
            self.add(f"{number}.png", catalog)

    def add(self, name, catalog=None):
        (catalog or self.catalogs[0]).add(Image(name, "image/png", 1, image().blob, gzipped=False))

    def ask(self, user=0):
        return self.listings.list_images(self.catalogs[user])


def test_requests_during_a_listing_share_the_next():
    desk = Desk()
    first = desk.ask()
    assert 1 == len(desk.bench.jobs)
    desk.add("new.png")
    others = [desk.ask() for _ in range(16)]
    assert 1 == len(desk.bench.jobs)
    desk.bench.do_one()
    assert {"0.png", "new.png"} == set(outcome(first)), "nothing had been read yet"
    assert 1 == len(desk.bench.jobs)
    desk.bench.do_one()
    assert [{"0.png", "new.png"}] * 16 == [set(outcome(each)) for each in others]
    assert not desk.bench.jobs


def test_listing_requested_after_an_upload_contains_it():
    desk = Desk(images=STEP_RECORDS)
    first = desk.ask()
    desk.bench.do_one()
    desk.add("new.png")
    second = desk.ask()
    desk.bench.do_all()
    assert "new.png" not in outcome(first)
    assert "new.png" in outcome(second)


def test_max_listings_bounds_concurrent_listings():
    desk = Desk(users=MAX_LISTINGS + 3)
    answers = [desk.ask(user) for user in range(MAX_LISTINGS + 3)]
    assert MAX_LISTINGS == len(desk.bench.jobs)
    desk.bench.do_all()
    assert [["0.png"]] * (MAX_LISTINGS + 3) == [list(outcome(each)) for each in answers]


def test_listing_is_read_in_bounded_steps():
    desk = Desk(images=3 * STEP_RECORDS)
    answer = desk.ask()
    jobs = 0
    while desk.bench.jobs:
        desk.bench.do_one()
        jobs += 1
    assert 4 == jobs
    assert 3 * STEP_RECORDS == len(outcome(answer))


def test_cancelled_listing_ends_after_its_step():
    desk = Desk(images=3 * STEP_RECORDS)
    answers = [desk.ask()]
    desk.bench.do_one()
    answers.append(desk.ask())
    for each in answers:
        each.cancel()
    assert 1 == len(desk.bench.jobs)
    desk.bench.do_one()
    assert not desk.bench.jobs
    assert [CancelledError] * 2 == [type(outcome(each)) for each in answers]
    again = desk.ask()
    desk.bench.do_all()
    assert 3 * STEP_RECORDS == len(outcome(again))


def test_listing_continues_while_one_request_waits():
    desk = Desk(images=3 * STEP_RECORDS)
    desk.ask().cancel()
    answers = [desk.ask() for _ in range(2)]
    answers[0].cancel()
    desk.bench.do_all()
    assert isinstance(outcome(answers[0]), CancelledError)
    assert 3 * STEP_RECORDS == len(outcome(answers[1]))


def test_disk_error_fails_all_requests_but_not_the_next_listing():
    desk = Desk(images=2)
    read_all, desk.records.read_all = desk.records.read_all, None
    answers = [desk.ask()]

    def fail(prefix):
        raise OSError(5, "Input/output error")

    desk.records.read_all = fail
    desk.bench.do_all()
    desk.records.read_all = read_all
    answers.append(desk.ask())
    desk.bench.do_all()
    assert isinstance(outcome(answers[0]), OSError)
    assert 2 == len(outcome(answers[1]))


def test_damaged_records_are_logged_with_their_ids():
    desk = Desk(images=2)
    (identity, *_) = [name.rpartition("/")[2] for name in desk.records.names("accounts/user_0/images")]
    name = (
        f"accounts/user_0/names/{json.loads(desk.records.read(f'accounts/user_0/images/{identity}'))['name']}"
    )
    desk.records.replace(name, desk.records.read(name), b"[]")
    events = []
    globalLogPublisher.addObserver(events.append)
    answers = [call_for_request(b"first", desk.ask)]
    answers += [call_for_request(each, desk.ask) for each in (b"second", b"joins")]
    desk.bench.do_all()
    globalLogPublisher.removeObserver(events.append)
    assert [1] * 3 == [len(outcome(answer)) for answer in answers]
    assert [(identity, each) for each in (b"first", b"second")] == [
        (event["damaged"], event["request_id"]) for event in events
    ]
