"""Unique digests of images."""

import gzip

import pytest

from filestored.digest import algorithm
from filestored.errors import UnknownAlgorithm
from filestored.images.blob_ids import UNIQUE_SHA256, BlobCheck, content_hash, find_algorithm
from tests.storage.contract import digest_of


def test_unique_sha256_of_equal_bytes_differs():
    names = {digest_of(b"hello", UNIQUE_SHA256) for _ in range(50)}
    assert 50 == len(names)
    assert {digest_of(b"hello", algorithm("sha256")).hex} == {content_hash(name) for name in names}
    assert {96} == {len(name.hex) for name in names}


def test_find_algorithm_knows_only_unique_sha256():
    assert UNIQUE_SHA256 is find_algorithm("sha256-apart")
    with pytest.raises(UnknownAlgorithm, match="md5"):
        find_algorithm("md5")


@pytest.mark.parametrize("size", [0, 10, 3_000, 400_000])
@pytest.mark.parametrize("stored", ["plain", "compressed"])
@pytest.mark.parametrize("chunk", [1_000, 10**6])
def test_blob_is_compared_as_it_is_or_decompressed(size, stored, chunk):
    data = (b"pixels, " * size)[:size]
    digest = digest_of(data, UNIQUE_SHA256)
    assert compared(data if stored == "plain" else gzip.compress(data), digest, chunk)


@pytest.mark.parametrize("change", ["flipped", "truncated", "followed by more", "empty"])
@pytest.mark.parametrize("stored", ["plain", "compressed"])
def test_changed_blob_does_not_match_its_name(change, stored):
    data = bytes(range(256)) * 40
    digest = digest_of(data, UNIQUE_SHA256)
    kept = data if stored == "plain" else gzip.compress(data)
    middle = len(kept) // 2
    changed = {
        "flipped": kept[:middle] + bytes([kept[middle] ^ 16]) + kept[middle + 1 :],
        "truncated": kept[:-1],
        "followed by more": kept + b"x",
        "empty": b"",
    }[change]
    assert not compared(changed, digest, 1_000)


def compared(data, digest, chunk):
    check = BlobCheck()
    for start in range(0, len(data), chunk):
        check.update(memoryview(data)[start : start + chunk])
    return check.matches(digest)
