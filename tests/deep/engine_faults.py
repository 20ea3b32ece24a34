"""The object store answers 500 and 503, resets connections, and breaks off bodies, all at random.

A proxy in front of it makes the faults, before a request has its effect or after it. A download is right or
recognisably cut; an upload that is acknowledged is kept; stored content is never answered 404; a name that a
client is the first to ask for is never said to exist.
"""

import random
import threading
import time
from collections import Counter

import requests

from tests.daemon_process import Running, until
from tests.deep.bench import Bench, Verdict
from tests.deep.engine import engine, spool_of, start_on
from tests.engine_daemons import partial_objects, spooled
from tests.engine_images import ImageLoad
from tests.engine_load import Failure, Load, back, lost
from tests.engine_proxy import EngineRequest, Fault, FaultProxy

NAMES = "first", "second"
CLIENTS = 3
"""Clients of files of each daemon."""

IMAGE_CLIENTS = 6
FAULT_SHARE = 0.15
MAX_CUT_BYTES = 400_000
MAX_DELAY_SECONDS = 0.5


def prove(bench: Bench) -> Verdict:
    """Count responses that are wrong, and acknowledged uploads that are lost."""
    dice, faulty, made = random.Random(12), threading.Event(), Counter[str]()

    def decide(_: EngineRequest) -> Fault | None:
        fault = _fault(dice) if faulty.is_set() else None
        made[str(fault and fault.kind)] += 1
        return fault

    with engine(bench) as server:
        prefix = server.make_prefix()
        with FaultProxy(server, decide) as proxy:
            daemons = [start_on(bench, prefix, name=name, environment=proxy.environment) for name in NAMES]
            address = str(daemons[0].port)
            images = ImageLoad([daemon.url for daemon in daemons], IMAGE_CLIENTS)
            faulty.set()
            load = Load([str(daemon.port) for daemon in daemons] * CLIENTS, seed=12)
            time.sleep(bench.seconds)
            record = load.end()
            images.end()
            faulty.clear()
            until(lambda: all(map(_is_healthy, daemons)), "all daemons have recovered")
            wrong = [
                *record.wrong,
                *images.wrong,
                *(str(each) for each in record.failures if not _is_allowed(each)),
                *(f"lost {digest}" for digest in lost(address, record)),
                *(f"back {digest}" for digest in back(address, record)),
                *images.damage(),
            ]
            for daemon in daemons:
                daemon.end()
        objects, partial = partial_objects(prefix)
    wrong += [*partial, *(path for name in NAMES for path in spooled(spool_of(bench, name)))]
    figure = (
        f"requests to the engine {made.most_common()}, {objects} objects; "
        f"{len(record.successes)} right, {Counter(map(str, record.failures)).most_common()}, "
        f"images {images.answers.most_common()}: "
        f"{Counter(wrong).most_common(5) or 'nothing wrong'}"
    )
    return Verdict(figure, not wrong)


def _fault(dice: random.Random) -> Fault | None:
    if dice.random() > FAULT_SHARE:
        return None
    forwarded = dice.random() < 0.5
    return dice.choice(
        [
            Fault(status=500, forwarded=forwarded),
            Fault(status=503, forwarded=forwarded),
            Fault(reset=True, forwarded=forwarded),
            Fault(cut=dice.randrange(MAX_CUT_BYTES), reset=dice.random() < 0.5),
            Fault(delay_seconds=dice.uniform(0, MAX_DELAY_SECONDS)),
        ]
    )


def _is_healthy(daemon: Running) -> bool:
    return requests.get(f"{daemon.url}health", timeout=60).status_code == 200


def _is_allowed(failure: Failure) -> bool:
    """Return whether a response is a refusal for now, or cut so that the client notices."""
    if failure.complete:
        return failure.response.status == 503 and "retry-after" in failure.response.fields
    return failure.response.status in {200, 206}
