"""The sweep beside changes of the same account: in no order of their steps does an image lose its bytes."""

import errno
import itertools
import json
import time

import pytest

from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.orphans.cleaner import OrphanCleaner
from filestored.storage.memory import MemoryBackend
from tests.images.catalog_samples import listing
from tests.images.interleaved_changes import CHANGES, COMPOSED, DECOMPOSED, LENGTHS, Actor, Stage
from tests.storage.contract import put

LONG_AGO = "2020-02-02T20:20:20+00:00"
SWEEP_STEPS = 24
"""More than a sweep of the stage has."""


class Old(Stage):
    """A stage whose images are years old, with their bytes; the bytes of new ones are a moment old."""

    def __init__(self):
        super().__init__()
        self.backend = MemoryBackend(UNIQUE_SHA256)
        for name in self.records.names("accounts/anna/images"):
            record = self.records.read(name)
            old = json.dumps({**json.loads(record), "created": LONG_AGO}).encode()
            self.records.replace(name, record, old)
        for image in listing(self.records).values():
            put(self.backend, b"old", image.blob)
            self.backend._changed[image.blob] = 0.0

    def sweep(self):
        return OrphanCleaner(self.records, self.accounts, self.backend, now=time.time()).run()

    def _account(self, new, work):
        if new:
            put(self.backend, b"new", new.blob)
        return super()._account(new, work)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: "-".join(map(str, change)))
def test_orphan_cleaner_beside_a_change_keeps_the_blobs_of_all_images(change):
    for first, second in itertools.product(range(SWEEP_STEPS), range(1, LENGTHS[change] + 1)):
        stage = Old()
        sweeper, changer = Actor(stage.sweep), stage.actor(change)
        for actor, steps in ((sweeper, first), (changer, second)):
            for _ in range(steps):
                actor.step()
        sweeper.finish()
        changer.finish()
        assert sweeper.outcome.refusal is None
        stored = set(stage.backend.digests(None, 100))
        assert {image.blob for image in listing(stage.records).values()} <= stored


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: "-".join(map(str, change)))
def test_orphan_cleaner_after_a_crash_keeps_the_blobs_of_all_images(change):
    for step in range(LENGTHS[change] + 1):
        stage = Old()
        actor = stage.actor(change)
        for _ in range(step):
            actor.step()
        stage.sweep()
        stored = set(stage.backend.digests(None, 100))
        assert {image.blob for image in listing(stage.records).values()} <= stored
        actor.finish()
        assert {image.blob for image in listing(stage.records).values()} <= stored | set(
            stage.backend.digests(None, 100)
        )


def test_failed_rename_between_forms_of_a_name_makes_no_orphan(monkeypatch):
    """The claim is rewritten, and the disk is full when the record follows."""
    stage = Old()
    replace = stage.records.replace

    def full_for_images(name, *values):
        if "/images/" in name:
            raise OSError(errno.ENOSPC, "full")
        return replace(name, *values)

    monkeypatch.setattr(stage.records, "replace", full_for_images)
    with pytest.raises(OSError, match="full"):
        stage.replace(1, COMPOSED)
    monkeypatch.undo()
    identity = stage.list_images[1]
    image = stage.catalog.read(identity)
    assert (DECOMPOSED, {"a", COMPOSED}) == (image.name, set(listing(stage.records)))
    put_orphan(stage)
    assert 1 == stage.sweep().moved
    assert image.blob in set(stage.backend.digests(None, 100))


def test_orphan_cleaner_without_a_minimum_age_fails_this_check(monkeypatch):
    """Counter-test: without the limit of age, the same schedules find images without their bytes."""
    monkeypatch.setattr(OrphanCleaner, "_is_old", lambda *_: True)
    found = 0
    for first, second in itertools.product(range(SWEEP_STEPS), range(1, LENGTHS["add", "c"] + 1)):
        stage = Old()
        sweeper, changer = Actor(stage.sweep), stage.actor(("add", "c"))
        for actor, steps in ((changer, second), (sweeper, first)):
            for _ in range(steps):
                actor.step()
        sweeper.finish()
        changer.finish()
        stored = set(stage.backend.digests(None, 100))
        found += not {image.blob for image in listing(stage.records).values()} <= stored
    assert found


def test_orphan_cleaner_moves_nothing_while_a_record_is_unreadable(monkeypatch):
    stage = Old()
    orphan = put_orphan(stage)
    read_all = stage.records.read_all
    monkeypatch.setattr(
        stage.records, "read_all", lambda prefix: ((name, None) for name, _ in read_all(prefix))
    )
    swept = stage.sweep()
    assert (0, True) == (swept.moved, "cannot be read: accounts/anna" in swept.refusal)
    monkeypatch.undo()
    assert 1 == stage.sweep().moved
    assert orphan not in stage.backend.digests(None, 100)


def put_orphan(stage):
    """Old bytes without a record."""
    orphan = UNIQUE_SHA256.parse("ab" * UNIQUE_SHA256.size)
    put(stage.backend, b"orphan", orphan)
    stage.backend._changed[orphan] = 0.0
    return orphan
