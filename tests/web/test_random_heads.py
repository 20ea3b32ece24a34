"""Heads with all fields known to HTTP: the response cache answers as the server does without it."""

import re
from collections.abc import Callable, Iterator
from random import Random

import pytest

from filestored.http import response_cache
from filestored.http.parser.cache_key import header_key
from tests.web.cache_comparison import CacheComparison
from tests.web.random_heads import ANY_VALUE, NAMES, TAG, VALUES, Target

HEADS = 5000
MIN_HITS = HEADS // 5
"""Fewer heads answered from the cache would prove nothing."""

VALUES_PER_FIELD = 8


@pytest.fixture
def compare(tmp_path) -> Iterator[Callable[..., CacheComparison]]:
    """A function that begins a comparison in the directory of the test."""
    running = []

    def start(seed: int, small_files_in_memory: bool = True) -> CacheComparison:
        running.append(CacheComparison(str(tmp_path / "store"), Random(seed), small_files_in_memory))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.mark.parametrize("small_files_in_memory", [True, False], ids=["small files in memory", "all on disk"])
def test_random_heads_are_answered_alike_with_and_without_the_response_cache(compare, small_files_in_memory):
    comparison = compare(19, small_files_in_memory)
    comparison.compare_random_heads(HEADS)
    assert [] == comparison.different[:3]
    assert [] == comparison.failures[:3]
    assert comparison.hits > MIN_HITS
    assert comparison.changes > 0
    assert 0 == comparison.parsed.hits


def test_each_field_known_to_http_is_answered_alike_with_and_without_the_response_cache(compare):
    comparison, random, heads = compare(20), Random(20), 0
    target = comparison.targets[0]
    for name in NAMES:
        for value in [*VALUES.get(name, ()), *random.sample(ANY_VALUE, VALUES_PER_FIELD)]:
            comparison.compare(target, [with_lines(target, name + b": " + value.replace(TAG, target.tag))])
            heads += 1
    assert [] == comparison.different[:3]
    assert [] == comparison.failures[:3]
    assert comparison.hits > heads // 2


def with_lines(target: Target, *lines: bytes) -> bytes:
    """Return a plain head with further lines."""
    return b"\r\n".join([target.plain().removesuffix(b"\r\n\r\n"), *lines, b"", b""])


SEQUENCES = {
    "two ranges in one form": [[b"Range: bytes=5-9", b"Range: bytes=20-29"]] * 2,
    "a range and one of another form": [[b"Range: bytes=1 - 2", b"Range: bytes=5-9"]] * 2,
    "a range of another form behind one": [[b"Range: bytes=5-9", b"Range: bytes=0-0, -1"]] * 2,
    "two ranges, then the second alone": [[b"Range: bytes=0-9", b"Range: bytes=5-"], [b"Range: bytes=5-"]],
    "two ranges in different case": [[b"rANGE: bytes=4-5", b"Range: bytes=5-9"], [b"rANGE: bytes=4-5"]],
    "a range with a condition": [[b"Range: bytes=5-9", b'iF-rANGE: "x"'], [b"Range: bytes=5-9"]] * 2,
    "a range that ends behind the file": [[b"Range: bytes=99-999999"]] * 2,
    "a range behind the file": [[b"Range: bytes=100000-100001"]] * 2,
    "a range that ends before it begins": [[b"Range: bytes=9-5"]] * 2,
    "a range of 18 digits": [[b"Range: bytes=%b-%b" % (b"0" * 18, b"9" * 18)]] * 2,
    "a range of 19 digits": [[b"Range: bytes=%b-%b" % (b"0" * 19, b"9" * 19)]] * 2,
}
"""Lines of heads that follow each other."""


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_ranges_are_answered_alike_with_and_without_the_response_cache(compare, sequence):
    comparison = compare(23)
    for target in {target.tag: target for target in reversed(comparison.targets)}.values():
        for lines in [[], *SEQUENCES[sequence]]:
            comparison.compare(target, [with_lines(target, *lines)])
    assert [] == comparison.different[:3]
    assert comparison.cached.hits


# --- wrong keys, which the comparison has to find -----------------------------------------------------------

RELEVANT = [
    *("Connection", "Content-Length", "Host", "If-Match", "If-None-Match", "If-Range", "Range", "Referer"),
    *("Transfer-Encoding", "User-Agent"),
]
IGNORED = {
    **{name: rb"(?i:\r\n%b:[^\r\n]*)(?=\r\n)" % name.encode("ascii") for name in RELEVANT},
    "a bare CR": rb"\r(?!\n)",
    "a bare LF": rb"(?<!\r)\n[^\r\n]*",
    "a control character": rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]",
    "a folded line": rb"\r\n[ \t][^\r\n]*",
    "a blank before a colon": rb"(?<=[A-Za-z])[ \t](?=:)",
    "a line without a name": rb"\r\n:[^\r\n]*",
    "a line without a colon": rb"\r\n[^\r\n:]+(?=\r\n)",
}
"""Patterns of what a wrong key leaves out: each relevant field, and each kind of defect."""

MAX_HEADS = 20_000
HEADS_AT_ONCE = 200


@pytest.mark.parametrize("ignored", IGNORED)
def test_cache_key_that_ignores_what_changes_the_response_is_found(compare, monkeypatch, ignored):
    pattern = re.compile(IGNORED[ignored])

    def wrong_key(block, *rest):
        return header_key(pattern.sub(b"", block), *rest)

    monkeypatch.setattr(response_cache, "header_key", wrong_key)
    comparison, heads = compare(21), 0
    while not comparison.different and heads < MAX_HEADS:
        comparison.compare_random_heads(HEADS_AT_ONCE)
        heads += HEADS_AT_ONCE
    assert comparison.different
