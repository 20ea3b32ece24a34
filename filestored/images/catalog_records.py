"""The records of images and names, as they stand on disk: JSON that a person can read.

Each value has a ``turn``, a random number, so that no two are ever equal: whoever replaces a value that
he has read replaces that one, and not a later one that says the same.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from filestored.errors import MalformedDigest
from filestored.images.blob_ids import UNIQUE_SHA256, content_hash
from filestored.interfaces import Image

_TURN_BYTES = 8


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The record of one image; `created` is when it was uploaded, in ISO 8601."""

    image: Image
    created: str

    @classmethod
    def of(cls, image: Image) -> "ImageRecord":
        """The record of an image that was uploaded just now."""
        return cls(image, datetime.now(UTC).isoformat(timespec="seconds"))

    @classmethod
    def from_record(cls, record: bytes) -> "ImageRecord":
        """What a record says. Raises `ValueError` or `LookupError` for what is none."""
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
        """The value to keep; different each time."""
        return _written(
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
    """The same record, and yet another value."""
    return _written(json.loads(record))


def claim_for(name: str, identity: str) -> bytes:
    """The value that claims a name for an image; different each time."""
    return _written({"id": identity, "name": name})


def read_claim(claim: bytes) -> tuple[str, str]:
    """The id and the name that a claim says. Raises `ValueError` or `LookupError` for what is none."""
    found = json.loads(claim)
    if not isinstance(found, dict):
        raise ValueError("a claim is damaged")
    identity, name = found["id"], found["name"]
    if not (isinstance(identity, str) and isinstance(name, str)):
        raise ValueError("a claim is damaged")
    return identity, name


def claimed_by(claim: bytes) -> str:
    """The id of the image that a claim is for."""
    return read_claim(claim)[0]


def _written(value: dict[str, Any]) -> bytes:
    turned = {**value, "turn": secrets.token_hex(_TURN_BYTES)}
    return json.dumps(turned, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"
