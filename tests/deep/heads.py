"""P42: a response from the cache is the one that the server sends without it, whatever the head.

Random heads (`tests.web.random_heads`) with all fields known to HTTP, a fifth of them with a defect, are sent
to two servers of one store, one with the response cache and one without. All bytes but dates and made request
ids, the state of the connection, and the entry of the access log have to be the same; the access log has the
id of the response. Files are removed, replaced and restored meanwhile.
"""

import os
from random import Random

from tests.deep.bench import Bench, Verdict
from tests.web.cache_comparison import CacheComparison

HEADS = 100_000
MIN_HITS = HEADS // 5
"""Fewer heads answered from the cache would prove nothing."""


def prove(bench: Bench) -> Verdict:
    """Count heads that are answered from the cache, and heads answered differently."""
    seed = int.from_bytes(os.urandom(4), "big")
    random = Random(seed)
    hits = changes = failures = 0
    different = []
    for small_files_in_memory in (True, False):
        path = os.path.join(bench.directory, f"store-{small_files_in_memory}")
        comparison = CacheComparison(path, random, small_files_in_memory)
        comparison.compare_random_heads(HEADS // 2)
        comparison.close()
        hits += comparison.hits
        changes += comparison.changes
        failures += len(comparison.failures)
        different += comparison.different
    first = f", the first {different[0]}" if different else ""
    figure = (
        f"{HEADS} heads, {hits} from the cache, {changes} changes of files, {len(different)} different, "
        f"{failures} failures, seed {seed}{first}"
    )
    return Verdict(figure, not (different or failures) and hits >= MIN_HITS and changes > 0)
