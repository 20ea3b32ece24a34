"""Bytes with image signatures, and functions that read a catalog."""

import json

from filestored.images.catalog import Catalog
from filestored.interfaces import Image

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
"""Not compressible."""

BMP = b"BM" + b"\0" * 12 + b"\x28\0\0\0" + b"\0" * 4000
"""Highly compressible."""


def names_of(records, username="anna"):
    """Return ids by name of all claims of an account, with or without an image."""
    place = f"accounts/{username}/names"
    claims = [json.loads(records.read(name)) for name in records.names(place)]
    return {claim["name"]: claim["id"] for claim in claims}


def ids_of(catalog) -> dict[str, str]:
    """The ids of all images of an account by their names."""
    found: dict[str, str] = {}
    assert [] == [damaged for damaged in catalog.list_into(found) if damaged]
    return found


def listing(records, username="anna") -> dict[str, Image]:
    """All images of an account, by name."""
    catalog = Catalog(records, username)
    return {name: catalog.read(identity) for name, identity in ids_of(catalog).items()}
