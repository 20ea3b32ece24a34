"""filestored with an access file: files with a token, and a bucket of each kind for uploads."""

import os
from collections.abc import Mapping
from typing import ClassVar

from bench.servers.filestored import Filestored
from filestored.access.tokens import make_secret, sha256_of

SECRET = make_secret()
"""The secret of the token that may read all files."""

QUOTA, EXPIRY = 'quota = "1 TiB"', 'expire = "30 days"'


class Guarded(Filestored):
    """filestored with an access file. Its token may read everything; its bucket takes uploads without one."""

    name: str = "filestored, --access"
    omits: ClassVar[str] = "As filestored, with an access file."
    bucket: ClassVar[str] = "plain"
    limits: ClassVar[tuple[str, ...]] = ()

    def start(self) -> None:
        """Write the access file, and start twistd."""
        path = os.path.join(self.home, "access.toml")
        os.makedirs(self.home, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(access_file(self.bucket, self.limits))
        self.options = ("--access", path)
        super().start()

    def fields(self) -> Mapping[str, str]:
        """Return the token."""
        return {"Authorization": f"Bearer {SECRET}"}

    def post(self) -> tuple[str, list[str]]:
        """Return the target of a raw upload into the bucket."""
        return "POST", [f"/buckets/{self.bucket}/"]


class Quota(Guarded):
    """filestored, whose bucket has a quota."""

    name: str = "filestored, a quota"
    omits: ClassVar[str] = "As the one before, and counts files and bytes."
    bucket: ClassVar[str] = "quota"
    limits: ClassVar[tuple[str, ...]] = (QUOTA,)


class Expiry(Guarded):
    """filestored, whose bucket has a lifetime."""

    name: str = "filestored, expiry"
    omits: ClassVar[str] = "As filestored, --access, and deletes old files."
    bucket: ClassVar[str] = "expiry"
    limits: ClassVar[tuple[str, ...]] = (EXPIRY,)


class Both(Guarded):
    """filestored, whose bucket has a quota and a lifetime."""

    name: str = "filestored, a quota and expiry"
    omits: ClassVar[str] = "As the two before."
    bucket: ClassVar[str] = "both"
    limits: ClassVar[tuple[str, ...]] = (QUOTA, EXPIRY)


def access_file(bucket: str, limits: tuple[str, ...]) -> str:
    """Return an access file: its token reads, and all clients write into the bucket, which has limits."""
    lines = [
        "[tokens.reader]",
        f'sha256 = "{sha256_of(SECRET).hex()}"',
        "[tokens.reader.buckets]",
        '"*" = ["read"]',
        f"[buckets.{bucket}]",
        'public = ["write"]',
        *limits,
    ]
    return "\n".join([*lines, ""])
