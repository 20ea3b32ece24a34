"""Image records and claims as JSON.

Each value has a ``nonce``, a random number, so that no two values are ever equal: compare-and-replace then
replaces exactly the value that was read. Records written before 0.4.0 have ``turn`` in its place. Neither is
read.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from filestored.errors import MalformedDigest
from filestored.images.blob_ids import UNIQUE_SHA256, content_hash
from filestored.interfaces import Image

_NONCE_BYTES = 8


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The record of one image; `created` is the date of its upload in ISO 8601."""

    image: Image
    created: str

    @classmethod
    def of(cls, image: Image) -> "ImageRecord":
        """Return the record of an image that was uploaded just now."""
        return cls(image, datetime.now(UTC).isoformat(timespec="seconds"))

    @classmethod
    def from_record(cls, record: bytes) -> "ImageRecord":
        """Parse a record. Raises `ValueError` or `LookupError`."""
        try:
            return cls._from_json(json.loads(record))
        except (TypeError, MalformedDigest) as error:
            raise ValueError("the record of an image is damaged") from error

    @classmethod
    def _from_json(cls, found: Any) -> "ImageRecord":
        if not isinstance(found["name"], str):
            raise ValueError("the record of an image is damaged")
        image = Image(
            name=found["name"],
            media_type=found["type"],
            size=found["size"],
            blob=UNIQUE_SHA256.parse(found["blob"]),
            gzipped=found["coding"] == "gzip",
        )
        return cls(image, found["created"])

    def to_record(self) -> bytes:
        """Return the value to store; different each time."""
        return _to_json(
            {
                "name": self.image.name,
                "type": self.image.media_type,
                "size": self.image.size,
                "sha256": content_hash(self.image.blob),
                "coding": "gzip" if self.image.gzipped else "identity",
                "blob": self.image.blob.hex,
                "created": self.created,
            }
        )


def with_new_nonce(record: bytes) -> bytes:
    """Return a record of the same content as a different value."""
    return _to_json(json.loads(record))


def claim_for(name: str, identity: str) -> bytes:
    """Return the value that claims a name for an image; different each time."""
    return _to_json({"id": identity, "name": name})


def read_claim(claim: bytes) -> tuple[str, str]:
    """Return the id and the name of a claim. Raises `ValueError` or `LookupError`."""
    found = json.loads(claim)
    if not isinstance(found, dict):
        raise ValueError("a claim is damaged")
    identity, name = found["id"], found["name"]
    if not (isinstance(identity, str) and isinstance(name, str)):
        raise ValueError("a claim is damaged")
    return identity, name


def claimed_by(claim: bytes) -> str:
    """Return the id of the claiming image. Raises `ValueError` or `LookupError`."""
    return read_claim(claim)[0]


def _to_json(value: dict[str, Any]) -> bytes:
    unique = {**value, "nonce": secrets.token_hex(_NONCE_BYTES)}
    return json.dumps(unique, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"
