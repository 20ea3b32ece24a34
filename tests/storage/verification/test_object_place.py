"""Verification of an object store: the claim of one process, races with uploads, the recorded usage."""

from datetime import timedelta

import pytest

from filestored.errors import EngineError, VerificationRunning
from filestored.interfaces import BucketLimits, Usage
from tests.storage.contract import MD5, put, read
from tests.storage.object_stores import IN_MEMORY, open_backend, opened_client
from tests.storage.verification.conftest import object_store
from tests.storage.verification.verified_stores import content, recorded_state, verify


@pytest.fixture(params=[IN_MEMORY])
def client(request):
    """A client of an empty object store in memory."""
    with opened_client(request) as client:
        yield client


@pytest.fixture
def verified(client, tmp_path):
    """A store in it."""
    return object_store(client, str(tmp_path))


def test_claim_of_a_dead_process_ends_after_some_time(verified, client, monkeypatch):
    from filestored.storage.verification import object_place

    dead = verified.place.claimed()
    dead.__enter__()
    with pytest.raises(VerificationRunning), verified.place.claimed():
        pytest.fail("the claim is young")
    later = object_place.service_time(client) + timedelta(seconds=object_place.MAX_SILENCE_SECONDS)
    monkeypatch.setattr(object_place, "service_time", lambda _: later)
    with verified.place.claimed() as recorded:
        recorded.save(recorded.load())
        with pytest.raises(VerificationRunning):
            dead.gen.gi_frame.f_locals["state"].save(recorded.load())
    dead.__exit__(None, None, None)


def test_released_claim_leaves_the_state(verified):
    verified.fill(2)
    verify(verified.place)
    assert 2 == recorded_state(verified.place).last.files


def test_buckets_are_verified_with_their_own_names(verified, client, tmp_path):
    verified.fill(2)
    backend = open_backend(client.below("buckets/builds"), MD5, str(tmp_path))
    put(backend, content(5))
    digest = MD5.digest(content(5))
    client.put(f"buckets/builds/{digest.shard}/{digest}", b"other")
    done = verify(verified.place)
    assert (3, [f"builds/{digest}"]) == (done.files, [*done.corrupt.reasons])
    assert 2 == len(client.entries("buckets/builds/quarantine"))


def test_moved_object_is_subtracted_from_the_recorded_usage(verified, client):
    from filestored.storage.limits.object_usage import ObjectUsage

    verified.fill(4)
    verified.flip(3)
    ledger = ObjectUsage(client, verified.backend)
    ledger.open()
    before = ledger.current()
    verify(verified.place)
    assert Usage(before.files - 1, before.bytes - len(content(3))) == ledger.current()
    with pytest.raises(Exception, match="quota"):
        ledger.reserve(1, BucketLimits(quota_files=3))


def test_upload_that_replaces_a_damaged_object_is_published_again_after_its_deletion(
    verified, client, monkeypatch
):
    """The DELETE of a verification may come after the PUT that heals the object."""
    verified.fill(1)
    digest = verified.flip(0)
    replace, late = client.replace, []

    def replace_then_lose(key, data, version):
        done = replace(key, data, version)
        if key.endswith(digest.hex) and not late:
            late.append(key)
            client.delete(key)
        return done

    monkeypatch.setattr(client, "replace", replace_then_lose)
    assert put(verified.backend, content(0))
    assert (1, content(0)) == (len(late), read(verified.backend, digest))


def test_object_that_cannot_be_read_is_named_and_stays(verified, client, monkeypatch):
    stored = verified.fill(5)
    get = client.get

    def fail(key, *args, **more):
        if key.endswith(stored[2].hex):
            raise EngineError("the part is gone", temporary=False)
        return get(key, *args, **more)

    monkeypatch.setattr(client, "get", fail)
    done = verify(verified.place)
    assert (4, {stored[2].hex: "the part is gone"}) == (done.files, done.unreadable.reasons)
