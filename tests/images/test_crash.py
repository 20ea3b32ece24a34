"""Processes that die, and disks that fail, at every single file call of every change.

Each time the next start must find the old state or the new one, whole, and nothing besides; and
what was acknowledged must be there.
"""

import errno
import os
import shutil

import pytest

from filestored.errors import FilestoredError
from filestored.images import directory as image_directory
from filestored.storage.disk import layout, records
from tests.images.catalog_samples import BMP, PNG
from tests.images.image_fixture import ImageFixture, done, in_child
from tests.storage.contract import watched

pytestmark = pytest.mark.slow

DEEP = "FILESTORED_DEEP" in os.environ
"""Leave nothing out, however long it takes."""

LARGE = BMP * 80
"""More than is committed with others."""

BEFORE = {"cat.png": ("image/png", PNG), "dog.bmp": ("image/bmp", BMP)}

CHANGES = {
    "upload": (
        lambda fixture, token, ids: fixture.put(token, "new.bmp", BMP),
        {**BEFORE, "new.bmp": ("image/bmp", BMP)},
    ),
    "upload of a large one": (
        lambda fixture, token, ids: fixture.put(token, "new.bmp", LARGE),
        {**BEFORE, "new.bmp": ("image/bmp", LARGE)},
    ),
    "update": (
        lambda fixture, token, ids: fixture.put(token, "cat.png", BMP, ids["cat.png"]),
        {**BEFORE, "cat.png": ("image/bmp", BMP)},
    ),
    "update with a new name": (
        lambda fixture, token, ids: fixture.put(token, "new.bmp", LARGE, ids["cat.png"]),
        {"dog.bmp": ("image/bmp", BMP), "new.bmp": ("image/bmp", LARGE)},
    ),
    "delete": (
        lambda fixture, token, ids: fixture.delete(token, ids["cat.png"]),
        {"dog.bmp": ("image/bmp", BMP)},
    ),
    "regenerate-token": (
        lambda fixture, token, ids: done(fixture.gallery(token).regenerate_token()),
        BEFORE,
    ),
}


def prepared(place):
    """The same account each time: its token, and the ids of its two images."""
    fixture = ImageFixture(place)
    fixture.sweep()
    registered = fixture.records.read("accounts/anna/account") is not None
    token = done(
        fixture.image_store.get_token("anna") if registered else fixture.image_store.register("anna")
    )
    there = done(fixture.gallery(token).list_images())
    contents = fixture.contents()
    for name in [name for name in there if contents[name] != BEFORE.get(name)]:
        fixture.delete(token, there.pop(name))
    for name, (_, data) in BEFORE.items():
        if name not in there:
            there[name] = fixture.put(token, name, data)
    assert BEFORE == fixture.contents()
    fixture.check()
    fixture.close()
    return token, there


class Doomed:
    """Calls that, once armed, do something at call number `site`."""

    def __init__(self, site, act):
        self.armed = False
        self.sites = 0
        self._site = site
        self._act = act
        self.calls = watched(self._watch)

    def _watch(self, name, args):
        if self.armed:
            self.sites += 1
            if self.sites - 1 == self._site:
                self._act(name)


def restarted(place):
    """Return the fixture after the next start, checked."""
    fixture = ImageFixture(place)
    fixture.sweep()
    fixture.check()
    return fixture


@pytest.mark.parametrize("change", CHANGES)
def test_crash_at_any_call_leaves_the_old_or_the_new_state(place, change):
    work, after = CHANGES[change]
    site, ended, seen = 0, False, set()
    while not ended:
        token, ids = prepared(place)

        def doomed(site=site, token=token, ids=ids):
            doom = Doomed(site, lambda name: os._exit(9))
            fixture = ImageFixture(place, doom.calls)
            doom.armed = True
            work(fixture, token, ids)

        code = in_child(doomed)
        assert code in (0, 9)
        ended = code == 0
        fixture = restarted(place)
        found = fixture.contents()
        assert found in ((after,) if ended else (BEFORE, after))
        seen.add(found == after)
        fixture.close()
        site += 1
    assert site > 10
    assert seen == ({True, False} if after != BEFORE else {True})


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("number", "stride"),
    [(errno.EIO, 1), (errno.ENOSPC, 3), (errno.EMFILE, 5)],
    ids=["EIO", "ENOSPC", "EMFILE"],
)
def test_failing_call_is_reported_and_leaves_the_old_or_the_new_state(place, change, number, stride):
    work, after = CHANGES[change]
    site, reached = 0, True

    def fail(name):
        raise OSError(number, os.strerror(number))

    while reached:
        token, ids = prepared(place)
        doom = Doomed(site, fail)
        fixture = ImageFixture(place, doom.calls)
        doom.armed = True
        try:
            work(fixture, token, ids)
            acknowledged = True
        except (OSError, FilestoredError):
            acknowledged = False
        doom.armed = False
        reached = doom.sites > site
        assert fixture.contents() in ((after,) if acknowledged else (BEFORE, after))
        fixture.close()
        fixture = restarted(place)
        assert fixture.contents() in ((after,) if acknowledged else (BEFORE, after))
        fixture.close()
        site += 1 if DEEP else stride
    assert site > 10


def test_crash_at_any_call_of_a_registration_leaves_an_account_or_none(place):
    site, ended = 0, False
    while not ended:
        username = f"user_{site}"
        image_directory.prepare(place)

        def doomed(site=site, username=username):
            doom = Doomed(site, lambda name: os._exit(9))
            fixture = ImageFixture(place, doom.calls)
            doom.armed = True
            done(fixture.image_store.register(username))

        code = in_child(doomed)
        assert code in (0, 9)
        ended = code == 0
        fixture = restarted(place)
        there = fixture.records.read(f"accounts/{username}/account") is not None
        assert there or not ended
        token = done(
            fixture.image_store.get_token(username) if there else fixture.image_store.register(username)
        )
        assert {} == done(fixture.gallery(token).list_images())
        fixture.check()
        fixture.close()
        site += 1
    assert site > 10


def test_crash_at_any_call_of_the_first_start_is_repaired_by_the_next(place):
    for site in range(0, 900, 23 if DEEP else 97):

        def doomed(site=site):
            doom = Doomed(site, lambda name: os._exit(9))
            doom.armed = True
            records.prepare(place, "images", doom.calls)
            layout.prepare(place + "/blobs", "sha256-apart", doom.calls, image_directory.lookup)

        in_child(doomed)
        restarted(place).close()
        shutil.rmtree(place)
