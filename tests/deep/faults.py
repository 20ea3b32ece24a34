"""P5: an I/O error is reported as one, never as a success.

strace takes hold of a daemon that is ready, and lets a call of each I/O thread fail: the seal, the flush
of the bytes, the name, the flush of the name. What the daemon acknowledges has to be there; what it
refuses must not, unless it had its name already; it lives on, reads, and leaks no descriptor.
"""

import hashlib
import os
import shutil

import requests

from tests.daemon.injection import injected
from tests.daemon.running import Running, until
from tests.deep.bench import Bench, NotRunError, Verdict, damage

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EMFILE", "EROFS")
PLACES = {
    "seal": ("fchmod", 1, False),
    "flush of the bytes": ("fsync", 1, False),
    "name": ("linkat", 1, False),
    "flush of the name": ("fsync", 2, True),
}
"""The failing call, its number within its thread, and whether the file has its name by then."""

UPLOADS = 3


def prove(bench: Bench) -> Verdict:
    """Count wrong successes, and daemons that did not continue, over all calls and errors."""
    if not shutil.which("strace"):
        raise NotRunError("needs strace")
    wrong: list[str] = []
    statuses: set[int] = set()
    for place, (call, when, named) in PLACES.items():
        for error in ERRORS:
            daemon = bench.start("--workers", "1", name=f"{place} {error}")
            with injected(daemon.pid, call, f"error={error}:when={when}"):
                found = _try(daemon, named, statuses)
            wrong += [f"{place} {error}: {word}" for word in found]
            daemon.end()
    told = ", ".join(map(str, sorted(statuses)))
    figure = f"{len(PLACES) * len(ERRORS)} faults, answered {told}: {'; '.join(wrong) or 'nothing wrong'}"
    return Verdict(figure, not wrong)


def _try(daemon: Running, named: bool, statuses: set[int]) -> list[str]:
    """Upload, the first time into the fault; what is wrong with that, in words."""
    wrong, acknowledged = [], {}
    with requests.Session() as session:
        assert session.get(f"{daemon.url}files/{'0' * 64}", timeout=30).status_code == 404
        held = _descriptors(daemon)
        for number in range(UPLOADS):
            content = f"upload {number}".encode()
            answer = session.post(daemon.url, data=content, timeout=30)
            statuses.add(answer.status_code)
            if answer.ok:
                acknowledged[answer.text] = content
            elif answer.status_code not in {500, 503, 507}:
                wrong.append(f"answered {answer.status_code}")
            elif _is_stored(daemon, content) and not named:
                wrong.append("refused, but stored")
        if len(acknowledged) == UPLOADS:
            wrong.append("the fault was not noticed")
        if not all(session.get(f"{daemon.url}files/{digest}", timeout=30).ok for digest in acknowledged):
            wrong.append("cannot be read")
        until(lambda: _descriptors(daemon) <= held, "all descriptors are closed")
    if damage(daemon.store, acknowledged) != (0, 0):
        wrong.append("lost or partial")
    return wrong


def _is_stored(daemon: Running, content: bytes) -> bool:
    digest = hashlib.sha256(content).hexdigest()
    return os.path.exists(os.path.join(daemon.store, digest[:2], digest))


def _descriptors(daemon: Running) -> int:
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))
