"""Expired files of a bucket, as the background thread of a daemon finds them (`expiry`). Blocking."""

import os
from collections.abc import Iterator

from filestored.storage.limits.expiry import expired_before
from filestored.storage.limits.usage_count import all_entries
from filestored.storage.maintenance.opened_bucket import Leftover, OpenedBucket


class ExpiredFiles:
    """Files whose last upload was more than `expire` seconds before `now`; see `Leftovers`."""

    def __init__(self, bucket: OpenedBucket, expire: float, now: float) -> None:
        self._bucket = bucket
        self._before = expired_before(now, expire)

    def __iter__(self) -> Iterator[Leftover]:
        """Yield files by the time of their last upload."""
        for entry in all_entries(self._bucket.backend):
            if entry.modified < self._before:
                yield Leftover(f"{entry.digest.shard}/{entry.digest}", entry.size, entry.modified)

    def remove(self, leftover: Leftover) -> bool:
        """Delete a file unless it was uploaded again."""
        digest = self._bucket.algorithm.parse(os.path.basename(leftover.path))
        return self._bucket.backend.delete_expired(digest, self._before)
