"""Lists of the files of a bucket, read by pages."""

import json
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from filestored.client.address import parse_hash
from filestored.client.errors import Refused, TransferError, printable
from filestored.client.server import Server

PAGE_FILES = 1000
"""Files of a page."""

HINT = "Lists need the right list in an existing bucket, by --access, or a daemon with --open."
"""Reasons of a 404: it is also the response without the right."""


class ListedFile(NamedTuple):
    """A file in a list: its hash, its size in bytes, and the time of its last upload (RFC 3339)."""

    hash: str
    size: int
    modified: str

    def to_json(self) -> str:
        """Return the entry as the server sends it."""
        return json.dumps(self._asdict())


def list_files(server: Server, path: str, after: str = "", limit: int | None = None) -> Iterator[ListedFile]:
    """Yield the files of a bucket, whose path begins with a slash or is empty, in ascending order of hashes.

    Begins behind the hash `after`; ends after `limit` files. Raises `ClientError`.
    """
    left = limit
    while left is None or left > 0:
        size = PAGE_FILES if left is None else min(left, PAGE_FILES)
        query = f"limit={size}" + (f"&after={quote(after)}" if after else "")
        target = f"{path}/files/?{query}"
        files, following = _page(_read(server, target))
        yield from files
        if following is None:
            return
        if following <= after:
            raise TransferError("the list of the server does not ascend")
        after = following
        left = None if left is None else left - len(files)


def _read(server: Server, target: str) -> bytes:
    """Request a page. Raises `ClientError`; a 404 gets a hint."""
    try:
        return server.repeated(lambda: server.read("GET", target))
    except Refused as error:
        if error.status != 404:
            raise
        raise Refused(404, f"{error} {HINT}") from None


def _page(data: bytes) -> tuple[list[ListedFile], str | None]:
    try:
        found = json.loads(data)
        files = [_file(each) for each in found["files"]]
        following = None if found["next"] is None else parse_hash(str(found["next"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise TransferError("the server has sent no list of files") from None
    return files, following


def _file(found: dict[str, object]) -> ListedFile:
    texts = printable(str(found["hash"])), printable(str(found["modified"]))
    return ListedFile(texts[0], int(str(found["size"])), texts[1])
