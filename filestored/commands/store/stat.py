"""Command ``filestored stat``: the figures of a store, or those of one file."""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from filestored.access.values import DEFAULT_BUCKET
from filestored.commands.arguments import add_bucket, add_command, add_json, format_time
from filestored.commands.output import DONE, FAILED, print_error, print_json, print_line, printable_path
from filestored.commands.store.opening import (
    OWNER,
    add_store,
    bucket_names,
    open_store,
    opened_bucket,
)
from filestored.digest import Digest
from filestored.errors import NotFound
from filestored.interfaces import StoredFileInfo
from filestored.settings import format_count
from filestored.storage.maintenance.figures import Figures, count_bucket, total
from filestored.storage.maintenance.idle_priority import use_idle_priority
from filestored.storage.maintenance.opened_bucket import OpenedBucket, OpenedStore

JSON_FORM = (
    '{"store", "format", "hash", "id", "files", "bytes", "oldest", "newest", "quarantine", "temp_files", '
    '"free_bytes", "size_bytes", "buckets": [{"bucket", "files", "bytes", ...}, ...]}, or for a HASH '
    '{"hash", "bucket", "size", "modified", "path", "quarantine": [...]}'
)


def add_parser(commands: Any) -> None:
    """Add the command ``stat``."""
    parser = add_command(
        commands,
        "stat",
        "Print the figures of a store, or of one file in it. All files are counted, in bounded memory, also "
        f"while daemons serve them. {OWNER}",
        "filestored stat store --json",
    )
    add_store(parser)
    parser.add_argument("hash", metavar="HASH", nargs="?", help="hash of a file: its size, time and path")
    add_bucket(parser, "name of the bucket", default=None)
    parser.add_argument(
        "--idle", action="store_true", help="use only processor and disk time that nothing else wants"
    )
    add_json(parser, JSON_FORM)
    parser.set_defaults(command=_stat)


def _stat(arguments: Namespace) -> int:
    if arguments.idle:
        use_idle_priority()
    store = open_store(arguments.store)
    if arguments.hash is not None:
        return _stat_file(store, arguments)
    figures = _figures(store, arguments)
    if arguments.json:
        print_json(figures)
    else:
        for line in _as_text(figures):
            print_line(line)
    return DONE


def _figures(store: OpenedStore, arguments: Namespace) -> dict[str, object]:
    """Count all buckets, or the one of ``--bucket``."""
    buckets: dict[str, Figures] = {}
    for name in bucket_names(store, arguments.bucket):
        with opened_bucket(store, name) as bucket:
            buckets[name] = count_bucket(bucket)
    space = store.space()
    return {
        "store": arguments.store,
        "format": store.format.version,
        "hash": store.format.hash,
        "id": store.format.id,
        **_as_json(total(buckets.values())),
        "free_bytes": None if space is None else space.free,
        "size_bytes": None if space is None else space.size,
        "buckets": [{"bucket": name, **_as_json(found)} for name, found in buckets.items()],
    }


def _as_json(figures: Figures) -> dict[str, object]:
    times = {name: getattr(figures, name) for name in ("oldest", "newest")}
    return {
        **asdict(figures),
        **{name: None if time is None else format_time(int(time)) for name, time in times.items()},
    }


def _as_text(figures: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each figure that there is, and for each bucket if there are several."""
    for name, value in figures.items():
        if name == "buckets":
            continue
        if value is not None:
            yield f"{name.replace('_', ' ')}: {value}"
    if len(figures["buckets"]) > 1:
        for bucket in figures["buckets"]:
            files, size = format_count(bucket["files"], "file"), format_count(bucket["bytes"], "byte")
            yield f"bucket {bucket['bucket']}: {files}, {size}"


def _stat_file(store: OpenedStore, arguments: Namespace) -> int:
    """Print one file; exit status 1 if it is not stored, or only in quarantine."""
    with opened_bucket(store, arguments.bucket or DEFAULT_BUCKET) as bucket:
        digest = bucket.parse(arguments.hash)
        found = _describe(bucket, digest)
        name, place = digest if found is None else found.digest, bucket.place
        moved = [each.path for each in bucket.quarantine if name.hex in each.path]
    fields = {
        "hash": name.hex,
        "bucket": arguments.bucket or DEFAULT_BUCKET,
        "size": None if found is None else found.size,
        "modified": None if found is None else format_time(int(found.modified)),
        "path": None if found is None else f"{place}/{name.shard}/{name.hex}",
        "quarantine": [f"{place}/{path}" for path in moved],
    }
    if arguments.json:
        print_json(fields)
    else:
        _print_fields(fields)
    if found is None:
        print_error(f"{arguments.hash} is not stored")
        return FAILED
    return DONE


def _print_fields(fields: dict[str, Any]) -> None:
    if fields["size"] is not None:
        for name in ("hash", "bucket", "size", "modified", "path"):
            print_line(f"{name}: {fields[name]}")
    for path in fields["quarantine"]:
        print_line(f"in quarantine: {printable_path(path)}")


def _describe(bucket: OpenedBucket, digest: Digest) -> StoredFileInfo | None:
    """Return size and time of a file; None if it is not stored. Raises `OSError`."""
    try:
        return bucket.backend.describe(bucket.resolve(digest))
    except NotFound:
        return None
