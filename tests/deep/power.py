"""P1: when we answer 200 the file is on disk; a power cut does not lose it.

The store rests on ext4 on a loop device. Under eight uploaders the file system is cut off from its
device, without its journal being written out; then it is mounted again, as after a power cut. A twin
that does not flush files must lose some, or the cut would prove nothing. One that doesn't flush
directories may be lucky: ext4 writes a new name out with the next flush of any file.
"""

import os
import random
import threading
import time

from tests.deep.bench import Bench, Verdict, damage, upload
from tests.deep.volume import cut_power, make_ext4, mounted
from tests.durability.twin import without_flushes_of

ROUNDS = 5
UPLOADERS = 8
IMAGE_SIZE = 2 << 30


def prove(bench: Bench) -> Verdict:
    """Files lost or partial over some cuts, and what the twins lost."""
    outcomes = [_cut(bench, f"cut{number}", number, None) for number in range(ROUNDS)]
    acknowledged, lost, partial = (sum(outcome[part] for outcome in outcomes) for part in range(3))
    figures = [f"{ROUNDS} cuts, {acknowledged} acknowledged: {lost} lost, {partial} partial"]
    proved = True
    for kind in ("S_ISREG", "S_ISDIR"):
        environment = without_flushes_of(kind, os.path.join(bench.directory, f"{kind}-twin"))
        among, missing, _ = _cut(bench, kind, 9, environment)
        figures.append(f"twin without {kind} flushes: {missing} of {among} lost")
        proved = proved and (missing > 0 or kind == "S_ISDIR")
    return Verdict("; ".join(figures), lost == partial == 0 < acknowledged and proved)


def _cut(bench: Bench, name: str, seed: int, environment: dict[str, str] | None) -> tuple[int, int, int]:
    """Cut the power once: how many were acknowledged, and how many of them are lost or partial."""
    dice = random.Random(seed)
    image, mount = (os.path.join(bench.directory, f"{name}.{kind}") for kind in ("image", "mount"))
    make_ext4(image, IMAGE_SIZE)
    acknowledged: dict[str, bytes] = {}
    over = threading.Event()
    with mounted(["-o", "loop", image], mount):
        store = os.path.join(mount, "store")
        daemon = bench.start("--workers", "2", "--store", store, name=name, environment=environment)

        def upload_on(seed: int) -> None:
            mine = random.Random(seed)
            while not over.is_set():
                content = mine.randbytes(mine.choice([100, 5_000, 70_000, 600_000]))
                if digest := upload(daemon, content):
                    acknowledged[digest] = content

        threads = [threading.Thread(target=upload_on, args=(100 * seed + n,)) for n in range(UPLOADERS)]
        for thread in threads:
            thread.start()
        time.sleep(dice.uniform(0.5, 2.5))
        cut_power(mount)
        over.set()
        for thread in threads:
            thread.join()
        daemon.end()
    with mounted(["-o", "loop", image], mount):
        return len(acknowledged), *damage(store, acknowledged)
