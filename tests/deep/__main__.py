"""Command line: ``python -m tests.deep [NAME ...] [--seconds N] [--rounds N] [--keep]``."""

import argparse
import importlib
import shutil
import sys
import tempfile
import time

import tests.deep
from tests.deep.bench import Bench, NotRunError
from tests.inherited_signals import restore_signals

NAMES = (
    *(
        "memory",
        "kill",
        "hang",
        "blocked_log",
        "stalls",
        "connections",
        "slow",
        "faults",
        "power",
        "full",
        "reserve",
    ),
    *("missing_directories", "proxies", "heads", "framing", "forms", "slow_uploads", "clock", "attacks"),
    *("access", "quota", "verify", "backup", "packages", "container", "metrics", "client", "listing"),
    *("engine-kill", "engine-outage", "engine-memory", "engine-copy", "engine-faults", "engine-race"),
)


def main() -> int:
    """Run the proofs that were asked for; 1 when one fails."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.deep",
        description=tests.deep.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="one or more of the names above")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long load goes on, where it does")
    parser.add_argument("--rounds", type=int, default=30, help="power cuts of each file system")
    parser.add_argument("--keep", action="store_true", help="leave the directories of the daemons behind")
    options = parser.parse_args()
    restore_signals()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no proof {', '.join(sorted(unknown))}; choose from {', '.join(NAMES)}")
    failed = [name for name in options.names or NAMES if not _run(name, options)]
    return 1 if failed else 0


def _run(name: str, options: argparse.Namespace) -> bool:
    """Run one proof and print its line; False when it fails."""
    bench = Bench(tempfile.mkdtemp(prefix=f"deep-{name}-"), options.seconds, options.rounds)
    began = time.monotonic()
    try:
        verdict = importlib.import_module(f"tests.deep.{name.replace('-', '_')}").prove(bench)
        word, figure, good = ("PASS" if verdict.holds else "FAIL"), verdict.figure, verdict.holds
    except NotRunError as error:
        word, figure, good = "NOT RUN", str(error), True
    finally:
        bench.end()
        if not options.keep:
            shutil.rmtree(bench.directory, ignore_errors=True)
    print(f"{name}: {word}: {figure} ({time.monotonic() - began:.0f} s)", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
