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
from tests.images.house import Environment, done
from tests.images.samples import BMP, PNG
from tests.storage.contract import watched

pytestmark = pytest.mark.slow

DEEP = "FILESTORED_DEEP" in os.environ
"""Leave nothing out, however long it takes."""

LARGE = BMP * 80
"""More than is committed with others."""

BEFORE = {"cat.png": ("image/png", PNG), "dog.bmp": ("image/bmp", BMP)}

CHANGES = {
    "upload": (
        lambda house, token, ids: house.put(token, "new.bmp", BMP),
        {**BEFORE, "new.bmp": ("image/bmp", BMP)},
    ),
    "upload of a large one": (
        lambda house, token, ids: house.put(token, "new.bmp", LARGE),
        {**BEFORE, "new.bmp": ("image/bmp", LARGE)},
    ),
    "update": (
        lambda house, token, ids: house.put(token, "cat.png", BMP, ids["cat.png"]),
        {**BEFORE, "cat.png": ("image/bmp", BMP)},
    ),
    "update with a new name": (
        lambda house, token, ids: house.put(token, "new.bmp", LARGE, ids["cat.png"]),
        {"dog.bmp": ("image/bmp", BMP), "new.bmp": ("image/bmp", LARGE)},
    ),
    "delete": (
        lambda house, token, ids: house.delete(token, ids["cat.png"]),
        {"dog.bmp": ("image/bmp", BMP)},
    ),
    "regenerate-token": (
        lambda house, token, ids: done(house.gallery(token).regenerate_token()),
        BEFORE,
    ),
}


def prepared(place):
    """The same account each time: its token, and the ids of its two images."""
    house = Environment(place)
    house.sweep()
    registered = house.records.read("accounts/anna/account") is not None
    token = done(house.room.get_token("anna") if registered else house.room.register("anna"))
    there = done(house.gallery(token).list_images())
    contents = house.contents()
    for name in [name for name in there if contents[name] != BEFORE.get(name)]:
        house.delete(token, there.pop(name))
    for name, (_, data) in BEFORE.items():
        if name not in there:
            there[name] = house.put(token, name, data)
    assert BEFORE == house.contents()
    house.check()
    house.close()
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


def in_child(work):
    """Run something in a process of its own; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def restarted(place):
    """The house after the next start, checked."""
    house = Environment(place)
    house.sweep()
    house.check()
    return house


@pytest.mark.parametrize("change", CHANGES)
def test_a_death_at_any_call_leaves_the_old_state_or_the_new(place, change):
    work, after = CHANGES[change]
    site, ended, seen = 0, False, set()
    while not ended:
        token, ids = prepared(place)

        def doomed(site=site, token=token, ids=ids):
            doom = Doomed(site, lambda name: os._exit(9))
            house = Environment(place, doom.calls)
            doom.armed = True
            work(house, token, ids)

        code = in_child(doomed)
        assert code in (0, 9)
        ended = code == 0
        house = restarted(place)
        found = house.contents()
        assert found in ((after,) if ended else (BEFORE, after))
        seen.add(found == after)
        house.close()
        site += 1
    assert site > 10
    assert seen == ({True, False} if after != BEFORE else {True})


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("number", "stride"),
    [(errno.EIO, 1), (errno.ENOSPC, 3), (errno.EMFILE, 5)],
    ids=["EIO", "ENOSPC", "EMFILE"],
)
def test_a_call_that_fails_is_told_and_leaves_the_old_state_or_the_new(place, change, number, stride):
    work, after = CHANGES[change]
    site, reached = 0, True

    def fail(name):
        raise OSError(number, os.strerror(number))

    while reached:
        token, ids = prepared(place)
        doom = Doomed(site, fail)
        house = Environment(place, doom.calls)
        doom.armed = True
        try:
            work(house, token, ids)
            acknowledged = True
        except (OSError, FilestoredError):
            acknowledged = False
        doom.armed = False
        reached = doom.sites > site
        assert house.contents() in ((after,) if acknowledged else (BEFORE, after))
        house.close()
        house = restarted(place)
        assert house.contents() in ((after,) if acknowledged else (BEFORE, after))
        house.close()
        site += 1 if DEEP else stride
    assert site > 10


def test_a_death_at_any_call_of_a_registration_leaves_an_account_or_none(place):
    site, ended = 0, False
    while not ended:
        username = f"user_{site}"
        image_directory.prepare(place)

        def doomed(site=site, username=username):
            doom = Doomed(site, lambda name: os._exit(9))
            house = Environment(place, doom.calls)
            doom.armed = True
            done(house.room.register(username))

        code = in_child(doomed)
        assert code in (0, 9)
        ended = code == 0
        house = restarted(place)
        there = house.records.read(f"accounts/{username}/account") is not None
        assert there or not ended
        token = done(house.room.get_token(username) if there else house.room.register(username))
        assert {} == done(house.gallery(token).list_images())
        house.check()
        house.close()
        site += 1
    assert site > 10


def test_a_death_at_any_call_of_the_first_start_is_made_good_by_the_next(place):
    for site in range(0, 900, 23 if DEEP else 97):

        def doomed(site=site):
            doom = Doomed(site, lambda name: os._exit(9))
            doom.armed = True
            records.prepare(place, "images", doom.calls)
            layout.prepare(place + "/blobs", "sha256-apart", doom.calls, image_directory.lookup)

        in_child(doomed)
        restarted(place).close()
        shutil.rmtree(place)
