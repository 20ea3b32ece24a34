"""P70: cp, rsync and rclone copy files, buckets, accounts and images under load, by the commands of the page.

The copy is restored by the commands of the page, too, and a daemon is started on it. It has to serve what was
acknowledged before the copy began, no half file, and the exact usage of each bucket.
"""

import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from tests.access.wire.access_files import RIGHTS, Bucket, access_text, write_access
from tests.daemon_process import ROOT, Running, until
from tests.deep.bench import Bench, NotRunError, Verdict, stored_files
from tests.deep.clients import Damage, Memory, Mix, damage_served, damage_to_images
from tests.deep.engine import engine, start_on
from tests.docs.pages import commands
from tests.rclone import environment
from tests.seaweedfs import BUCKET, Prefix
from tests.tools import advice, find_tool

PAGE = "docs/backup.md"
TOOLS = ("cp", "rsync", "rclone")
BUCKETS = {"default": "", "builds": "buckets/builds/"}
"""Path of each bucket, in URLs and below the store."""

MIN_ITEMS = 20
"""Acknowledged items of each bucket before a copy begins."""

TOLERANT = {
    "cp": 'cp() { command cp "$@" || true; }',
    "rsync": 'rsync() { command rsync "$@" || [ $? -eq 24 ]; }',
    "rclone": "",
}
"""Shell functions that accept a file which was deleted during the copy, as the page says."""

HARMLESS = (
    "No such file or directory",
    "file has vanished: ",
    "rsync warning: some files vanished",
    "ERROR : ",
    "\tstatus code: 404, ",  # second line of such an error
)
"""Parts of the lines on stderr about such files; rclone tries such a copy again, and fails at the end."""

DIRECTORIES = {"/var/lib/filestored": "data", "/var/backups/filestored": "backup", "/etc/filestored": "."}
"""Directories of a proof, by those on the page."""

_FROM = "/var/lib/filestored/store /var/backups"
_TOOL_OF = re.compile(r"\b(cp|rsync|rclone) ")


def prove(bench: Bench) -> Verdict:
    """Differences of each restored copy."""
    for tool in TOOLS:
        if find_tool(tool) is None:
            raise NotRunError(f"needs {advice(tool)}")
    found = {**rehearse(bench), **rehearse_object_store(bench)}
    figure = "; ".join(f"{tool}: {result}" for tool, result in found.items())
    return Verdict(figure, not any(result.differs for result in found.values()))


@dataclass
class Rehearsal:
    """Result of a restore: acknowledged items, damage to them, and other differences."""

    items: int
    damage: Damage
    differences: list[str]

    @property
    def differs(self) -> bool:
        """True if the restored copy is not what it has to be."""
        return bool(self.damage or self.differences)

    def __str__(self) -> str:
        return ", ".join([f"{self.items} items", str(self.damage), *self.differences[:5]])


@dataclass
class Before:
    """Acknowledged data of a bucket before a copy began, and the modification times of the files."""

    memory: Memory
    times: dict[str, int]


def rehearse(bench: Bench) -> dict[str, Rehearsal]:
    """Copy the data of a daemon under load by each tool, restore each copy, and compare it."""
    text = access_text(
        Bucket("default", RIGHTS, ['quota = "100 GiB"']),
        Bucket("builds", RIGHTS, ['quota = "100 GiB"', 'expire = "30 days"']),
    )
    access = write_access(os.path.join(bench.directory, "access.toml"), text)
    daemon = bench.start("--workers", "2", "--access", access, name="data")
    mixes = {
        bucket: Mix(daemon, seed, uploaders=2, accounts=1 - seed, base=base)
        for seed, (bucket, base) in enumerate(BUCKETS.items())
    }
    before, differences = {}, {}
    try:
        until(lambda: all(mix.memory.count() > MIN_ITEMS for mix in mixes.values()), "some are acknowledged")
        time.sleep(bench.seconds / 4)
        for tool in TOOLS:
            before[tool] = {bucket: _before(daemon, bucket, mix) for bucket, mix in mixes.items()}
            differences[tool] = copy(bench.directory, tool, bench.seconds / 4)
    finally:
        for mix in mixes.values():
            mix.end()
    daemon.end()
    found = {}
    for tool in TOOLS:
        _rename(bench.directory, _backup_of(tool), "backup")
        restore(bench.directory)
        second = bench.start("--workers", "1", "--access", access, name="data")
        found[tool] = _compared(second, before[tool], differences[tool])
        second.end()
        _rename(bench.directory, "backup", f"restored-{tool}")
        for name in ("store.old", "images.old"):
            shutil.rmtree(os.path.join(second.directory, name))
    return found


def copy(place: str, tool: str, seconds: float) -> list[str]:
    """Copy `place`/data by a tool for this time, at least twice; return lines of unexpected errors.

    Each copy by cp has a new directory.
    """
    (block,) = [block for block in commands(PAGE) if _FROM in block and _TOOL_OF.findall(block)[0] == tool]
    deadline, unexpected = time.monotonic() + seconds, []
    for number in itertools.count():
        if number > 1 and time.monotonic() > deadline:
            break
        if tool == "cp" and number:
            _rename(place, "backup", f"former-{number}")
        unexpected += _run(place, f"{TOLERANT[tool]}\n{block}")
    _rename(place, "backup", _backup_of(tool))
    return unexpected


def rehearse_object_store(bench: Bench) -> dict[str, Rehearsal]:
    """Copy an object store under load into directories; serve these, and what is restored from them.

    The copies are served by a daemon on the directories, and by one on another prefix of the bucket.
    """
    with engine(bench, "rclone") as server:
        source, target = server.make_prefix(), server.make_prefix()
        daemon = start_on(bench, source, name="bucket")
        mix = Mix(daemon, 7, uploaders=2, accounts=1)
        try:
            until(lambda: mix.memory.count() > MIN_ITEMS, "some are acknowledged")
            time.sleep(bench.seconds / 4)
            before = mix.memory.copied()
            backup, restore_block = (block for block in commands(PAGE) if ":s3:" in block)
            differences = _run(bench.directory, backup, _places(source, target), environment(server))
        finally:
            mix.end()
        function = next(line for line in backup.splitlines() if line.startswith("copy() "))
        differences += _run(
            bench.directory, f"{function}\n{restore_block}", _places(source, target), environment(server)
        )
        _rename(bench.directory, "backup", "bucket-on-disk")
        copies = {
            "bucket to directory": bench.start("--workers", "1", name="bucket-on-disk"),
            "bucket to bucket": start_on(bench, target, name="restored-bucket"),
        }
        return {
            name: Rehearsal(before.count(), damage_served(copy, before), differences)
            for name, copy in copies.items()
        }


def _places(source: Prefix, target: Prefix) -> dict[str, str]:
    """Return what stands on the page for the places in the object store."""
    return {
        "example-files/restored-": f"{BUCKET}/{target.path}/",
        "example-files/": f"{BUCKET}/{source.path}/",
    }


def _backup_of(tool: str) -> str:
    return f"backup-{tool}"


def _rename(place: str, old: str, new: str) -> None:
    os.rename(os.path.join(place, old), os.path.join(place, new))


def restore(place: str) -> None:
    """Replace `place`/data, and the access file, by their copies."""
    (block,) = [block for block in commands(PAGE) if "systemctl start" in block]
    os.unlink(os.path.join(place, "access.toml"))
    assert [] == _run(place, block)


def _run(
    place: str,
    block: str,
    others: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> list[str]:
    """Run a block of the page on the directories of a proof; return unexpected lines of stderr.

    `others` are further places by what stands for them on the page.
    """
    lines = [line for line in block.splitlines() if not re.match("sudo (systemctl|chown) ", line)]
    script = "\n".join(lines).replace("sudo ", "")
    for path, name in DIRECTORIES.items():
        script = script.replace(path, shlex.quote(os.path.normpath(os.path.join(place, name))))
    for path, other in (others or {}).items():
        script = script.replace(path, other)
    done = subprocess.run(
        ["sh", "-ec", script],
        env=variables or {**os.environ, "RCLONE_CONFIG": os.devnull},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    unexpected = [] if done.returncode == 0 else [f"exit status {done.returncode}"]
    return unexpected + [
        line for line in done.stderr.splitlines() if not any(part in line for part in HARMLESS)
    ]


def _store(daemon: Running, bucket: str) -> str:
    return os.path.join(daemon.store, BUCKETS[bucket])


def _before(daemon: Running, bucket: str, mix: Mix) -> Before:
    memory = mix.memory.copied()
    return Before(memory, _times(daemon, bucket, memory))


def _times(daemon: Running, bucket: str, memory: Memory) -> dict[str, int]:
    """Return the modification times of acknowledged files, in nanoseconds."""
    return {
        digest: os.stat(os.path.join(_store(daemon, bucket), digest[:2], digest)).st_mtime_ns
        for digest in memory.files
    }


def _compared(daemon: Running, before: dict[str, Before], differences: list[str]) -> Rehearsal:
    """Compare a restored daemon with what was acknowledged."""
    damage = sum((_damage(daemon, bucket, each.memory) for bucket, each in before.items()), Damage())
    differences = [*differences, *_differences(daemon, before)]
    return Rehearsal(sum(each.memory.count() for each in before.values()), damage, differences)


def _damage(daemon: Running, bucket: str, memory: Memory) -> Damage:
    return damage_to_files(_store(daemon, bucket), memory) + damage_to_images(daemon, memory)


def damage_to_files(store: str, memory: Memory) -> Damage:
    """Compare the files of a bucket with what was acknowledged, and all of them with their names."""
    found = dict(stored_files(store))
    return Damage(
        lost=sum(found.get(digest) != content for digest, content in memory.files.items()),
        back=len(memory.deleted_files & set(found)),
        wrong=sum(name != hashlib.sha256(content).hexdigest() for name, content in found.items()),
    )


def _differences(daemon: Running, before: dict[str, Before]) -> Iterator[str]:
    """Yield buckets whose usage is not exact, whose files have other times, or that take no upload."""
    for bucket, each in before.items():
        if each.times != _times(daemon, bucket, each.memory):
            yield f"times of {bucket} differ"
        sizes = [len(content) for _, content in stored_files(_store(daemon, bucket))]
        url = f"{daemon.url}buckets/{bucket}/"
        counted = requests.get(f"{url}usage", timeout=30).json()
        if (len(sizes), sum(sizes)) != (counted["files"], counted["bytes"]):
            yield f"usage of {bucket} is {counted}, not {len(sizes)} files"
        if not requests.post(url, data=b"after the restore", timeout=30).ok:
            yield f"{bucket} takes no upload"
    done = verify(daemon.store)
    if done["corrupt"] or done["unreadable"]:
        yield f"verify: {done}"


def verify(directory: str) -> dict[str, Any]:
    """Return the figures of ``filestored verify``, beside the daemon."""
    done = subprocess.run(
        [sys.executable, "-m", "filestored", "verify", directory, "--restart", "--json"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    return dict(json.loads(done.stdout))
