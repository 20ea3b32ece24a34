"""Many small requests: Debian's wrk, which ``load.lua`` tells what to send.

One thread of wrk on the client's core; it counts, its own script prints the counts in one line. wrk checks
statuses, not bytes: that the bytes are right is what the tests are for.
"""

import itertools
import os
import re
import subprocess
import tempfile

from bench.request_mixes import Count, RequestMix

SCRIPT = os.path.join(os.path.dirname(__file__), "load.lua")

_starts = itertools.count(1_000_000_000, 10_000_000)
"""First number of a run: no two runs send the same body."""


def run(port: int, load: RequestMix, seconds: int) -> Count:
    """Send for so many seconds. Raises `RuntimeError` when wrk cannot."""
    with tempfile.NamedTemporaryFile("w", suffix=".paths") as paths:
        paths.write("".join(f"{path}\n" for path in load.paths))
        paths.flush()
        words = [load.method, paths.name, str(next(_starts)), str(load.body)]
        done = subprocess.run(
            [
                *("wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "20s"),
                *("-s", SCRIPT, f"http://127.0.0.1:{port}/", "--", *words),
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    return parse(done.stdout + done.stderr)


def parse(output: str) -> Count:
    """The counts in wrk's output; raises `RuntimeError` where there are none."""
    found = re.search(r"^sample (\d+) (\d+) (\d+) (\d+)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk said: {output.strip()}")
    requests, microseconds, received, errors = map(int, found.groups())
    return Count(requests, microseconds / 1e6, received, errors)
