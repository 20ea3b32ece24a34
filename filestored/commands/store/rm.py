"""Command ``filestored rm``: delete files, durably, with the usage of their bucket."""

from argparse import Namespace
from typing import Any

from filestored.commands.arguments import add_bucket, add_command
from filestored.commands.output import DONE, FAILED, print_error
from filestored.commands.store.opening import OWNER, add_store, open_store, opened_bucket
from filestored.daemon.startup_errors import one_line
from filestored.digest import Digest
from filestored.errors import EngineUnavailable, NotFound
from filestored.storage.maintenance.opened_bucket import OpenedBucket
from filestored.storage.maintenance.uninterrupted import uninterrupted


def add_parser(commands: Any) -> None:
    """Add the command ``rm``."""
    parser = add_command(
        commands,
        "rm",
        "Delete files, without a question. They are deleted on disk when the command ends. Works while "
        "daemons serve the store: the files are 404 at once, and the usage of a bucket with a quota stays "
        "exact. If a file is not stored, or cannot be deleted, the others are deleted, and the exit status "
        f"is 1. {OWNER}",
        "filestored rm store 900150983cd24fb0d6963f7d28e17f72",
    )
    add_store(parser)
    parser.add_argument("hashes", metavar="HASH", nargs="+", help="hash of a file, also a former one")
    add_bucket(parser, "name of the bucket")
    parser.set_defaults(command=_remove)


def _remove(arguments: Namespace) -> int:
    with opened_bucket(open_store(arguments.store), arguments.bucket) as bucket:
        digests = [bucket.parse(text) for text in arguments.hashes]
        removed: list[Digest] = []
        try:
            for digest in digests:
                with uninterrupted():
                    removed += _remove_one(bucket, digest)
        finally:
            bucket.backend.flush_names(removed)
    return DONE if len(removed) == len(digests) else FAILED


def _remove_one(bucket: OpenedBucket, digest: Digest) -> list[Digest]:
    """Delete a file; return its current digest, or nothing if that failed. Raises `EngineUnavailable`."""
    try:
        current = bucket.resolve(digest)
        if bucket.backend.delete(current):
            return [current]
        print_error(f"{digest} is not stored")
    except NotFound:
        print_error(f"{digest} is not stored")
    except EngineUnavailable:
        raise
    except OSError as error:
        print_error(f"{digest} cannot be deleted: {reason(error)}")
    return []


def reason(error: OSError) -> str:
    """Return the reason of an error in one line, without the name of a file."""
    return one_line(getattr(error, "reason", None) or error.strerror or error)
