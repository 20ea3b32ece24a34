"""Bounded cache: eviction of the oldest entry."""

from filestored.bounded_cache import BoundedCache


def test_oldest_entry_is_evicted():
    cache = BoundedCache(2)
    for key in "abc":
        cache.add(key, key.upper())
    assert {"b": "B", "c": "C"} == cache


def test_replaced_entry_keeps_its_place():
    cache = BoundedCache(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        cache.add(key, value)
    assert {"b": 2, "c": 4} == cache


def test_cache_of_size_zero_stores_nothing():
    cache = BoundedCache(0)
    cache.add("a", 1)
    assert {} == cache
