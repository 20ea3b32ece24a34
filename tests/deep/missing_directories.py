"""P6: nothing is deleted because something is absent.

Two accounts with 40 images. Each directory in turn is taken away, also half of what is in it, as by a restore
that was interrupted. The daemon starts, whose clock is three days ahead so that all files count as old; it
is asked for everything, sweeps and stops. Then the directory is put back as `rsync` does, and after one
more start all tokens and images must be there. Without KEY the daemon must refuse to start.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress

from tests.daemon_process import Running
from tests.deep.bench import Bench, NotRunError, Verdict
from tests.images.missing_directories import LATER, Filled, fill, home_of, missing, swept
from tests.tools import find_tool
from tests.wall_clock import WallClock

DIRECTORIES = (
    *("accounts", "accounts/anna", "accounts/anna/images", "accounts/anna/names", "tokens"),
    *("blobs", "blobs/quarantine", "thumbnails"),
)
LINKED = ("accounts", "accounts/anna", "accounts/anna/images", "accounts/anna/names", "tokens")


def prove(bench: Bench) -> Verdict:
    """Images and tokens that are missing after all directories are back."""
    if find_tool("faketime") is None:
        raise NotRunError("faketime is not installed")
    daemon = bench.start("--workers", "2")
    filled = fill(daemon)
    daemon.end()
    cases = [(name, _move_all) for name in DIRECTORIES] + [(name, _move_half) for name in DIRECTORIES]
    cases += [(name, _link) for name in LINKED]
    with WallClock(bench.directory, LATER) as clock:
        lost = {
            f"{take.__name__[1:]} {name}": _without(bench, clock, filled, name, take) for name, take in cases
        }
    refuses = _refuses_without_key(bench, daemon)
    shown = "; ".join(f"{case}: {', '.join(names[:3])}" for case, names in lost.items() if names)
    figure = f"{len(cases)} absences of 2 accounts with 40 images: lost {shown or 'nothing'}"
    return Verdict(f"{figure}; without KEY it {'refuses to start' if refuses else 'STARTS'}",
                   refuses and not shown)  # fmt: skip


def _without(
    bench: Bench, clock: WallClock, filled: Filled, name: str, take: Callable[[str, str], "Taken"]
) -> list[str]:
    """Names missing at the end of one case."""
    home = os.path.join(bench.directory, "daemon", "images")
    aside = os.path.join(bench.directory, "aside")
    shutil.rmtree(aside, ignore_errors=True)
    os.mkdir(aside)
    taken = take(os.path.join(home, name), aside)
    with suppress(AssertionError):  # it may also refuse to start
        _serve(bench, clock, filled)
    for source, target in taken:
        _put_back(source, target)
    return _serve(bench, clock, filled)


def _serve(bench: Bench, clock: WallClock, filled: Filled) -> list[str]:
    daemon = bench.start("--workers", "2", environment=clock.environment)
    swept(daemon)
    found = missing(daemon, filled)
    daemon.end()
    return found


Taken = list[tuple[str, str]]


def _move_all(path: str, aside: str) -> Taken:
    """Move a directory aside; where it is, and where it belongs."""
    os.makedirs(path, exist_ok=True)
    os.rename(path, os.path.join(aside, "all"))
    return [(os.path.join(aside, "all"), path)]


def _move_half(path: str, aside: str) -> Taken:
    """Move every second entry of a directory aside."""
    entries = sorted(os.listdir(path))[::2]
    for entry in entries:
        os.rename(os.path.join(path, entry), os.path.join(aside, entry))
    return [(os.path.join(aside, entry), os.path.join(path, entry)) for entry in entries]


def _link(path: str, aside: str) -> Taken:
    """Move a directory aside, and leave a symbolic link."""
    taken = _move_all(path, aside)
    os.symlink(os.path.join(aside, "all"), path)
    return taken


def _put_back(source: str, target: str) -> None:
    if os.path.islink(target):
        os.unlink(target)
    if os.path.isdir(source):
        os.makedirs(target, 0o700, exist_ok=True)
        for name in os.listdir(source):
            _put_back(os.path.join(source, name), os.path.join(target, name))
    else:
        os.rename(source, target)


def _refuses_without_key(bench: Bench, daemon: Running) -> bool:
    os.rename(os.path.join(home_of(daemon), "KEY"), os.path.join(bench.directory, "KEY"))
    try:
        bench.start("--workers", "2")
    except AssertionError as error:
        return "restore it from a copy" in str(error)
    return False
