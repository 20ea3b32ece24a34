"""URLs of object stores: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``. Pure."""

import re
from typing import NamedTuple

SCHEMES = ("s3", "gs", "az")
"""Schemes of the supported services: S3 and its clones, Google Cloud Storage, Azure Blob Storage."""


class ObjectStoreURL(NamedTuple):
    """The address of a store: service, bucket (Azure: container), and a prefix that is empty or ends in /."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")

    def below(self, name: str) -> "ObjectStoreURL":
        """Return the URL of the store with the prefix `name` within this one."""
        return self._replace(prefix=f"{self.prefix}{name}/")


def is_url(text: str) -> bool:
    """Return whether an option names an object store, and not a directory."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", text) is not None


def parse_url(text: str) -> ObjectStoreURL:
    """Parse the URL of an object store. Raises `ValueError`."""
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES:
        raise ValueError(f"{text!r} has none of the schemes s3://, gs:// and az://")
    bucket, _, prefix = rest.partition("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", bucket, re.ASCII):
        raise ValueError(f"{text!r} names no bucket; write it like {scheme}://bucket/prefix")
    prefix = prefix.strip("/")
    segments = prefix.split("/") if prefix else []
    if not all(re.fullmatch(r"(?!\.{1,2}$)[A-Za-z0-9._=~-]+", each, re.ASCII) for each in segments):
        raise ValueError(f"{text!r} has a prefix that is not letters, digits and - . _ ~ = between slashes")
    return ObjectStoreURL(scheme, bucket, "".join(f"{each}/" for each in segments))
