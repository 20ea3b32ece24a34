"""Memory of refused images: by content, for a while, bounded."""

import pytest

from filestored.errors import ImageRefused, NotAnImage, TooManyPixels
from filestored.images.decoder.refusal_cache import MAX_AGE_SECONDS, MAX_REFUSALS, RefusalCache


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def refusals(clock):
    return RefusalCache(now=lambda: clock[0])


def is_refused(refusals, key):
    try:
        refusals.check(key)
    except ImageRefused as error:
        return type(error)
    return None


def test_refusal_cache_raises_the_cached_error(refusals):
    refusals.add("a", NotAnImage())
    refusals.add("b", TooManyPixels())
    assert [is_refused(refusals, key) for key in "abc"] == [NotAnImage, TooManyPixels, None]


def test_refusal_cache_entry_expires(refusals, clock):
    refusals.add("a", NotAnImage())
    clock[0] += MAX_AGE_SECONDS
    assert is_refused(refusals, "a") is NotAnImage
    clock[0] += 1
    assert is_refused(refusals, "a") is None
    refusals.add("a", NotAnImage())
    assert is_refused(refusals, "a") is NotAnImage


def test_full_refusal_cache_evicts_the_oldest(refusals):
    for key in range(MAX_REFUSALS + 1):
        refusals.add(key, NotAnImage())
    assert [is_refused(refusals, key) for key in (0, 1, MAX_REFUSALS)] == [None, NotAnImage, NotAnImage]


def test_refusal_cache_keeps_the_message(refusals):
    refusals.add("a", TooManyPixels("more than 7"))
    with pytest.raises(TooManyPixels, match="more than 7"):
        refusals.check("a")
