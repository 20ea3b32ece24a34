"""Many small requests: Debian's wrk, which ``load.lua`` tells what to send.

One thread of wrk on the client's core; it counts, its own script prints the counts in one line. wrk counts
statuses from 400 as errors, and takes 200, 206 and 304 for the same: so the length of the responses is
checked here. That the bytes are right is what the tests are for.
"""

import itertools
import os
import re
import subprocess
import tempfile

from bench.request_mixes import Count, RequestMix

SCRIPT = os.path.join(os.path.dirname(__file__), "load.lua")

MAX_HEAD_BYTES = 2048
"""Bytes that the head of a response may have, or the body of one to an upload."""

_starts = itertools.count(1_000_000_000, 10_000_000)
"""First number of a run: no two runs send the same body, or the same head where heads differ."""


def run(url: str, load: RequestMix, seconds: int) -> Count:
    """Send to a URL for so many seconds; raises `RuntimeError` when wrk cannot, or for a wrong length."""
    with tempfile.NamedTemporaryFile("w", suffix=".paths") as paths:
        paths.write("".join(f"{path}\n" for path in load.paths))
        paths.flush()
        words = [load.method, paths.name, str(next(_starts)), str(load.body), *load.heads]
        done = subprocess.run(
            [
                *("wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "20s"),
                *(word for name, value in load.fields.items() for word in ("-H", f"{name}: {value}")),
                *("-s", SCRIPT, url, "--", *words),
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    count = parse(done.stdout + done.stderr)
    check_length(count, load)
    return count


def check_length(count: Count, load: RequestMix) -> None:
    """Raise `RuntimeError` for responses too short or too long, unless some of them are errors anyway."""
    min_bytes = count.requests * load.response
    max_bytes = (count.requests + load.connections) * (load.response + MAX_HEAD_BYTES)
    if not count.errors and not min_bytes <= count.received <= max_bytes:
        raise RuntimeError(f"{count.requests} responses of {load.response} bytes have {count.received} bytes")


def parse(output: str) -> Count:
    """The counts in wrk's output; raises `RuntimeError` where there are none."""
    found = re.search(r"^sample (\d+) (\d+) (\d+) (\d+)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk said: {output.strip()}")
    requests, microseconds, received, errors = map(int, found.groups())
    return Count(requests, microseconds / 1e6, received, errors)
