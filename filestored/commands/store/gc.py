"""Command ``filestored gc``: remove leftovers of a store, and expired files."""

import math
import time
from argparse import Namespace
from contextlib import nullcontext
from typing import Any

from filestored.access import access_file
from filestored.commands.arguments import add_command, checked
from filestored.commands.output import DONE, FAILED, print_error, print_line, printable_path
from filestored.commands.store.opening import OWNER, add_store, bucket_names, open_store, opened_bucket
from filestored.commands.store.rm import reason
from filestored.errors import EngineUnavailable
from filestored.interfaces import IExpiringBackend
from filestored.settings import format_count, parse_duration
from filestored.storage.maintenance.expired_files import ExpiredFiles
from filestored.storage.maintenance.opened_bucket import Leftover, Leftovers, OpenedBucket
from filestored.storage.maintenance.uninterrupted import uninterrupted


def add_parser(commands: Any) -> None:
    """Add the command ``gc``."""
    parser = add_command(
        commands,
        "gc",
        "Remove leftovers of all buckets: temp files of processes that have ended, on request files in "
        "quarantine, and with --access the files that have expired. Prints a line for each. Works while "
        "daemons serve the store. Stored files that have not expired are never removed. Unfinished "
        "multipart uploads of an object store cannot be listed; let a rule of the service end them "
        f"(AbortIncompleteMultipartUpload). {OWNER}",
        "filestored gc store --access access.toml --quarantine-older-than 90d --dry-run",
    )
    add_store(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="remove nothing, and print what would be removed"
    )
    parser.add_argument(
        "--quarantine-older-than",
        metavar="TIME",
        dest="quarantine_age",
        type=checked(parse_duration),
        help="also remove files that are in quarantine for longer, such as 90d [default: none]",
    )
    parser.add_argument("--access", metavar="FILE", help="the daemon's --access file; remove expired files")
    parser.set_defaults(command=_collect)


class _Collector:
    """Prints leftovers, and removes them unless `dry_run`."""

    def __init__(self, dry_run: bool) -> None:
        self._dry_run = dry_run
        self.files = self.bytes = 0
        self.failed = False

    def collect(self, place: str, leftovers: Leftovers, before: float) -> None:
        """Remove those whose time is `before` that. Raises `OSError` if they cannot be listed."""
        for each in leftovers:
            if each.modified < before and (self._dry_run or self._remove(place, leftovers, each)):
                self.files += 1
                self.bytes += each.size
                print_line(printable_path(f"{place}/{each.path}"))

    def _remove(self, place: str, leftovers: Leftovers, each: Leftover) -> bool:
        try:
            with uninterrupted():
                return leftovers.remove(each)
        except EngineUnavailable:
            raise
        except OSError as error:
            self.failed = True
            print_error(f"{printable_path(f'{place}/{each.path}')} cannot be removed: {reason(error)}")
            return False


def _collect(arguments: Namespace) -> int:
    rules = access_file.read_rules(arguments.access).buckets if arguments.access else {}
    store = open_store(arguments.store)
    collector = _Collector(arguments.dry_run)
    for name in bucket_names(store, None):
        with opened_bucket(store, name, counts=True) as bucket:
            collector.collect(bucket.place, bucket.temp_files, math.inf)
            if arguments.quarantine_age is not None:
                collector.collect(bucket.place, bucket.quarantine, time.time() - arguments.quarantine_age)
            expire = rules[name].expire if name in rules else None
            if expire is not None:
                _collect_expired(collector, bucket, expire, arguments.dry_run)
    done = "would be removed" if arguments.dry_run else "removed"
    found = f"{format_count(collector.files, 'file')} of {format_count(collector.bytes, 'byte')}"
    print_line(f"{found} {done}")
    return FAILED if collector.failed else DONE


def _collect_expired(collector: _Collector, bucket: OpenedBucket, expire: float, dry_run: bool) -> None:
    """Delete expired files, unless a daemon does so just now."""
    claim = nullcontext(time.time()) if dry_run else IExpiringBackend(bucket.backend).claimed_sweep(0.0)
    with claim as now:
        if now is None:
            print_error(f"{bucket.place}: a daemon deletes the expired files just now")
        else:
            collector.collect(bucket.place, ExpiredFiles(bucket, expire, now), math.inf)
