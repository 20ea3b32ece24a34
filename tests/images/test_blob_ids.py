"""Unique digests of images."""

import pytest

from filestored.digest import algorithm
from filestored.errors import UnknownAlgorithm
from filestored.images.blob_ids import UNIQUE_SHA256, content_hash, find_algorithm
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
