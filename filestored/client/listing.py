"""Lists of the files of a bucket, read by pages."""

import json
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from filestored.client.errors import Refused, TransferError, printable
from filestored.client.server import Server

PAGE_FILES = 1000
"""Files of a page."""


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
        after = following
        left = None if left is None else left - len(files)


def _read(server: Server, target: str) -> bytes:
    try:
        return server.repeated(lambda: server.read("GET", target))
    except Refused as error:
        if error.status != 404:
            raise
        raise Refused(404, f"{error} A daemon lists files with --access or --open only.") from None


def _page(data: bytes) -> tuple[list[ListedFile], str | None]:
    try:
        found = json.loads(data)
        files = [_file(each) for each in found["files"]]
        following = found["next"]
    except (ValueError, KeyError, TypeError):
        raise TransferError("the server has sent no list of files") from None
    return files, None if following is None else str(following)


def _file(found: dict[str, object]) -> ListedFile:
    texts = printable(str(found["hash"])), printable(str(found["modified"]))
    return ListedFile(texts[0], int(str(found["size"])), texts[1])
