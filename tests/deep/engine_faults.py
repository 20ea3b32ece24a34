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

from tests.daemon_process import Running
from tests.deep.bench import Bench, Verdict
from tests.deep.clients import TIMEOUT, Memory, damage_served, png_of_one_pixel
from tests.deep.engine import engine, spool_of, start_on
from tests.engine_daemons import partial_objects, spooled
from tests.engine_load import Failure, Load, back, lost
from tests.engine_proxy import EngineRequest, Fault, FaultProxy

CLIENTS = 6
IMAGE_CLIENTS = 3
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
            daemon = start_on(bench, prefix, environment=proxy.environment)
            faulty.set()
            load = Load([str(daemon.port)] * CLIENTS, seed=12)
            images = ImageClients(daemon, IMAGE_CLIENTS)
            time.sleep(bench.seconds)
            record, memory = load.end(), images.end()
            faulty.clear()
            time.sleep(2.0)
            damage = damage_served(daemon, memory)
            wrong = [
                *record.wrong,
                *images.wrong,
                *(str(each) for each in record.failures if not _is_allowed(each)),
                *(f"lost {digest}" for digest in lost(str(daemon.port), record)),
                *(f"back {digest}" for digest in back(str(daemon.port), record)),
                *([str(damage)] if damage else []),
            ]
            daemon.end()
        objects, partial = partial_objects(prefix)
    wrong += [*partial, *spooled(spool_of(bench))]
    figure = (
        f"requests to the engine {made.most_common()}, {objects} objects; "
        f"{len(record.successes)} right, {memory.count()} accounts and images, "
        f"{Counter(map(str, record.failures)).most_common()}: "
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


def _is_allowed(failure: Failure) -> bool:
    """Return whether a response is a refusal for now, or cut so that the client notices."""
    if failure.complete:
        return failure.response.status == 503 and "retry-after" in failure.response.fields
    return failure.response.status in {200, 206}


class ImageClients:
    """Clients that make accounts and images under names that no other asks for, until `end`."""

    def __init__(self, daemon: Running, count: int) -> None:
        self.wrong: list[str] = []
        self._memory = Memory()
        self._url = f"{daemon.url}imageapi/"
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def end(self) -> Memory:
        """Stop all clients; return the acknowledged accounts and images."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self._memory

    def _run(self, client: int) -> None:
        with requests.Session() as session:
            number = 0
            while not self._over.is_set():
                number += 1
                self._make(session, f"user_{client}_{number}")

    def _make(self, session: requests.Session, name: str) -> None:
        answer = session.get(f"{self._url}generate-token/{name}/", timeout=TIMEOUT)
        if not self._is_made(answer):
            return
        self._memory.accounts[name] = token = answer.json()["token"]
        for number in range(3):
            data = png_of_one_pixel(number)
            url = f"{self._url}token/{token}/upload-image/"
            answer = session.post(url, files={"image": (f"{number}.png", data)}, timeout=TIMEOUT)
            if self._is_made(answer):
                self._memory.images[name, answer.json()["File ID"]] = data

    def _is_made(self, answer: requests.Response) -> bool:
        """Return whether the request succeeded; record a response that is neither that nor 503."""
        if answer.status_code not in {201, 503}:
            self.wrong.append(f"{answer.status_code} {answer.text}")
        return answer.status_code == 201
