"""Figures of a bucket: a count of its files and leftovers, in bounded memory. Blocking."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from filestored.storage.limits.usage_count import all_entries
from filestored.storage.maintenance.opened_bucket import OpenedBucket


@dataclass
class Figures:
    """Number and size of files, the times of the oldest and the newest one, and the numbers of leftovers.

    Sizes in bytes, times in seconds since the epoch; None without a file.
    """

    files: int = 0
    bytes: int = 0
    oldest: float | None = None
    newest: float | None = None
    quarantine: int = 0
    temp_files: int = 0


def count_bucket(bucket: OpenedBucket) -> Figures:
    """Count all files of a bucket. Raises `OSError`."""
    found = Figures()
    oldest, newest = math.inf, -math.inf
    for entry in all_entries(bucket.backend):
        found.files += 1
        found.bytes += entry.size
        oldest, newest = min(oldest, entry.modified), max(newest, entry.modified)
    if found.files:
        found.oldest, found.newest = oldest, newest
    found.quarantine = sum(1 for _ in bucket.quarantine)
    found.temp_files = sum(1 for _ in bucket.temp_files)
    return found


def total(figures: Iterable[Figures]) -> Figures:
    """Return the figures of several buckets together."""
    buckets = list(figures)
    return Figures(
        files=sum(each.files for each in buckets),
        bytes=sum(each.bytes for each in buckets),
        oldest=min((each.oldest for each in buckets if each.oldest is not None), default=None),
        newest=max((each.newest for each in buckets if each.newest is not None), default=None),
        quarantine=sum(each.quarantine for each in buckets),
        temp_files=sum(each.temp_files for each in buckets),
    )
