"""P5: an I/O error is reported as one, never as a success.

A first daemon is only watched, so that it is known how often each call is made before it is ready. Then,
for each call of an upload and each error, a daemon whose first such call behind that moment fails. What
it acknowledges has to be there; what it refuses must not; it lives on, reads, and leaks no descriptor.
"""

import hashlib
import os
import re
import shutil

import requests

from tests.daemon.running import Running, read, until
from tests.deep.bench import Bench, NotRunError, Verdict, damage

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EMFILE", "EROFS")
CALLS = ("fchmod", "fsync", "linkat")
UPLOADS = 3


def prove(bench: Bench) -> Verdict:
    """How many wrong successes, and how many daemons that did not go on, over all calls and errors."""
    if not shutil.which("strace"):
        raise NotRunError("needs strace")
    counts = _calls_until_ready(bench)
    wrong: list[str] = []
    statuses: set[int] = set()
    for call in CALLS:
        for again in range(2 if call == "fsync" else 1):
            for error in ERRORS:
                name = f"{call}-{again}-{error}"
                injection = f"inject={call}:error={error}:when={counts[call] + again + 1}"
                daemon = bench.start("--workers", "1", name=name, wrap=_strace("/dev/null", injection))
                wrong += [f"{name}: {word}" for word in _try(daemon, statuses)]
                daemon.end()
    places = (len(CALLS) + 1) * len(ERRORS)
    told = ", ".join(map(str, sorted(statuses)))
    return Verdict(f"{places} faults, answered {told}: {'; '.join(wrong) or 'nothing wrong'}", not wrong)


def _try(daemon: Running, statuses: set[int]) -> list[str]:
    """Upload, the first time into the fault; what is wrong with that, in words."""
    wrong, acknowledged = [], {}
    with requests.Session() as session:
        assert session.get(f"{daemon.url}files/{'0' * 32}", timeout=30).status_code == 404
        held = _descriptors(daemon)
        for number in range(UPLOADS):
            content = f"upload {number}".encode()
            answer = session.post(daemon.url, data=content, timeout=30)
            statuses.add(answer.status_code)
            if answer.ok:
                acknowledged[answer.text] = content
            elif answer.status_code not in {500, 503, 507}:
                wrong.append(f"answered {answer.status_code}")
            elif number == 0 and _is_stored(daemon, content) and "linkat" not in daemon.directory:
                wrong += [] if "fsync-1" in daemon.directory else ["refused, but stored"]
        if len(acknowledged) == UPLOADS:
            wrong.append("the fault was not noticed")
        if not all(session.get(f"{daemon.url}files/{digest}", timeout=30).ok for digest in acknowledged):
            wrong.append("cannot be read")
        until(lambda: _descriptors(daemon) <= held, "all descriptors are closed")
    if damage(daemon.store, acknowledged) != (0, 0):
        wrong.append("lost or partial")
    return wrong


def _is_stored(daemon: Running, content: bytes) -> bool:
    digest = hashlib.md5(content).hexdigest()
    return os.path.exists(os.path.join(daemon.store, digest[:2], digest))


def _descriptors(daemon: Running) -> int:
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def _calls_until_ready(bench: Bench) -> dict[str, int]:
    trace = os.path.join(bench.directory, "trace")
    bench.start("--workers", "1", name="watched", wrap=_strace(trace, f"trace={','.join(CALLS)}")).end()
    text = read(trace)
    return {call: len(re.findall(rf"^\d+\s+{call}\(", text, re.MULTILINE)) for call in CALLS}


def _strace(output: str, expression: str) -> tuple[str, ...]:
    return ("strace", "-f", "-qq", "-o", output, "-e", expression)
