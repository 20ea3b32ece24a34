"""Command ``filestored ls``: the files of a bucket, a page at a time."""

import re
from argparse import Namespace
from collections.abc import Callable
from itertools import islice
from typing import Any

from filestored.client.listing import ListedFile, list_files
from filestored.commands.arguments import add_bucket, add_command, bucket_path, checked
from filestored.commands.output import DONE, WRONG_ARGUMENTS, print_error, print_lines
from filestored.commands.server_arguments import SERVER_VARIABLE, add_server, make_server
from filestored.commands.store.opening import OWNER, add_store, open_store, opened_bucket
from filestored.digest import Digest
from filestored.interfaces import StoredFileInfo
from filestored.storage.limits.usage_count import all_entries
from filestored.storage.maintenance.opened_bucket import OpenedBucket

JSON_FORM = '{"hash", "size", "modified"}'

PAGE_FILES = 1000
"""Files of one page, which is held in memory."""


def add_parser(commands: Any) -> None:
    """Add the command ``ls``."""
    parser = add_command(
        commands,
        "ls",
        "Print the hashes of stored files, in ascending order: of STORE, or without it of a server. Works in "
        "bounded memory, also while daemons serve the store; a file that is stored or deleted meanwhile may "
        f"be missing. For a store: {OWNER}",
        "filestored ls store --long --after 9001 --limit 20",
    )
    add_store(parser, optional=True)
    add_bucket(parser, "name of the bucket")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--long", action="store_true", help="print hash, time of last upload, size in bytes")
    form.add_argument("--json", action="store_true", help=f"print one JSON document a line: {JSON_FORM}")
    parser.add_argument(
        "--after",
        metavar="HASH",
        default="",
        help="print the hashes after this one, or after its first digits",
    )
    parser.add_argument(
        "--limit", metavar="N", type=checked(parse_limit), help="maximum number of files [default: all]"
    )
    add_server(parser, required=False)
    parser.set_defaults(command=_list)


def parse_limit(text: str) -> int:
    """Parse a number of files. Raises `ValueError`."""
    if not re.fullmatch("[0-9]{1,18}", text, re.ASCII) or int(text) < 1:
        raise ValueError(f"{text!r} is not a number of files")
    return int(text)


def _list(arguments: Namespace) -> int:
    if arguments.store is None:
        return _list_server(arguments)
    page_files = min(PAGE_FILES, arguments.limit or PAGE_FILES)
    with opened_bucket(open_store(arguments.store), arguments.bucket) as bucket:
        files = islice(all_entries(bucket.backend, page_files, _after(bucket, arguments)), arguments.limit)
        while page := list(islice(files, page_files)):
            if not print_lines(map(_line_form(arguments), page)):
                break
    return DONE


def _list_server(arguments: Namespace) -> int:
    if arguments.server is None:
        print_error(f"name a STORE, or a server by --server URL or {SERVER_VARIABLE}")
        return WRONG_ARGUMENTS
    form = _server_line_form(arguments)
    with make_server(arguments, arguments.server) as server:
        path = bucket_path(arguments.bucket)
        files = list_files(server, path, arguments.after.lower(), arguments.limit)
        while page := list(islice(files, PAGE_FILES)):
            if not print_lines(map(form, page)):
                break
    return DONE


def _server_line_form(arguments: Namespace) -> Callable[[ListedFile], str]:
    if arguments.json:
        return ListedFile.to_json
    return _listed_as_long if arguments.long else _listed_as_hash


def _after(bucket: OpenedBucket, arguments: Namespace) -> Digest | None:
    """Return the lowest digest with the digits of ``--after``; None without any. Raises `MalformedDigest`."""
    digits = 2 * bucket.algorithm.size
    return bucket.parse(arguments.after.ljust(digits, "0")) if arguments.after else None


def _line_form(arguments: Namespace) -> Callable[[StoredFileInfo], str]:
    if arguments.json:
        return StoredFileInfo.to_json
    return _as_long if arguments.long else _as_hash


def _as_long(file: StoredFileInfo) -> str:
    return f"{file.digest}  {file.moment}  {file.size}"


def _as_hash(file: StoredFileInfo) -> str:
    return file.digest.hex


def _listed_as_long(file: ListedFile) -> str:
    return f"{file.hash}  {file.modified}  {file.size}"


def _listed_as_hash(file: ListedFile) -> str:
    return file.hash
