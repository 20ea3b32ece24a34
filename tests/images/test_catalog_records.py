"""Image records and claims as JSON: nonce, records of former versions, damage."""

import json

import pytest

from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.catalog_records import ImageRecord, claim_for, read_claim, with_new_nonce
from filestored.interfaces import Image
from tests.storage.contract import digest_of

IMAGE = Image("Ёжик.png", "image/png", 5, digest_of(b"hello", UNIQUE_SHA256), gzipped=True)
RECORD = ImageRecord(IMAGE, "2026-11-26T12:00:00+00:00")


def without(key: str) -> bytes:
    value = json.loads(RECORD.to_record())
    del value[key]
    return json.dumps(value).encode()


def test_image_record_survives_a_round_trip():
    assert RECORD == ImageRecord.from_record(RECORD.to_record())


def test_image_record_has_a_new_nonce_each_time():
    first, second = (json.loads(RECORD.to_record()) for _ in range(2))
    assert first.pop("nonce") != second.pop("nonce")
    assert first == second


def test_image_record_of_0_3_with_turn_is_read_and_gets_a_nonce():
    value = json.loads(RECORD.to_record())
    value["turn"] = value.pop("nonce")
    old = json.dumps(value).encode()
    assert RECORD == ImageRecord.from_record(old)
    assert RECORD == ImageRecord.from_record(with_new_nonce(old))
    assert with_new_nonce(old) != with_new_nonce(old)


@pytest.mark.parametrize("gzipped", [True, False])
def test_image_record_has_the_coding_of_its_blob(gzipped):
    image = Image("a", "image/png", 1, IMAGE.blob, gzipped)
    record = ImageRecord.of(image).to_record()
    assert ("gzip" if gzipped else "identity") == json.loads(record)["coding"]
    assert gzipped is ImageRecord.from_record(record).image.gzipped


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        *map(without, ("name", "type", "size", "blob", "coding", "created")),
    ],
)
def test_damaged_image_record_raises_value_error_or_lookup_error(record):
    with pytest.raises((ValueError, LookupError)):
        ImageRecord.from_record(record)


def test_claim_survives_a_round_trip_and_differs_each_time():
    first, second = (claim_for("Ёжик.png", "aB3x") for _ in range(2))
    assert ("aB3x", "Ёжик.png") == read_claim(first) == read_claim(second)
    assert first != second


@pytest.mark.parametrize(
    "claim", [b"", b"[]", b"{}", b'{"id": 1, "name": "a"}', b'{"id": "a", "name": null}']
)
def test_damaged_claim_raises_value_error_or_lookup_error(claim):
    with pytest.raises((ValueError, LookupError)):
        read_claim(claim)
