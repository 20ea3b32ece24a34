"""Race of processes for the names, ids and accounts of images, on daemons of one object store.

Each name and each account has one winner; the others are told that it exists. Afterwards all of it is there:
each image with the bytes of the client that was told its id last, each account with the token of its winner.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.balanced_daemons import Balanced
from tests.daemon_process import ROOT
from tests.images.image_client import Client
from tests.images.racing_client import account, image, renamed, uploaded

CLIENTS = 8
_START_SECONDS = 1.5
"""Time in which the processes of the clients start."""

EXPECTED = {
    "account": {201, 409},
    "upload": {201, 409},
    "spare": {201},
    "rename": {200, 409},
}
"""Statuses of each kind of request."""


@dataclass
class Race:
    """Result of a race: requests, names and accounts that were won, and faults."""

    requests: int = 0
    contested: int = 0
    """Names and accounts that at least two clients asked for."""
    faults: list[str] = field(default_factory=list)

    def expect(self, holds: bool, fault: str) -> None:
        """Count a fault, unless something holds."""
        if not holds:
            self.faults.append(fault)


@dataclass(frozen=True)
class Outcome:
    """The answer to a request of a client in a round."""

    client: int
    kind: str
    number: int
    status: int
    value: Any


def run_race(server: Balanced, seconds: float) -> Race:
    """Let 8 processes race for so long, and check what is stored afterwards."""
    race = Race()
    owner = Client(server, "owner")
    outcomes = _outcomes(server, owner.token, seconds)
    race.requests = len(outcomes)
    for each in outcomes:
        race.expect(
            each.status in EXPECTED[each.kind], f"{each.kind} {each.number}: {each.status} {each.value}"
        )
    _check_winners(race, outcomes)
    _check_images(race, owner, outcomes)
    _check_accounts(race, owner, outcomes)
    return race


def _outcomes(server: Balanced, token: str, seconds: float) -> list[Outcome]:
    begin = time.monotonic() + _START_SECONDS
    clients = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.images.racing_client", str(server.port), token),
                *(str(number), str(begin), str(seconds)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        for number in range(CLIENTS)
    ]
    answers = [json.loads(client.communicate()[0]) for client in clients]
    assert [0] * CLIENTS == [client.returncode for client in clients]
    return [Outcome(number, *each) for number, answer in enumerate(answers) for each in answer]


def _check_winners(race: Race, outcomes: list[Outcome]) -> None:
    """Each name and each account that was asked for has one winner."""
    for kind in ("account", "upload", "rename"):
        asked = Counter(each.number for each in outcomes if each.kind == kind)
        won = Counter(each.number for each in outcomes if each.kind == kind and each.status in (200, 201))
        race.contested += sum(count > 1 for count in asked.values())
        for number in asked:
            race.expect(won[number] == 1, f"{kind} {number} has {won[number]} winners")


def _check_images(race: Race, owner: Client, outcomes: list[Outcome]) -> None:
    """All images are listed, each once, and have the bytes of their clients."""
    made = [each for each in outcomes if each.status == 201 and each.kind in ("upload", "spare")]
    listed = owner.list_images()
    identities = [each.value["File ID"] for each in made]
    race.expect(len(identities) == len(set(identities)), "an id was given twice")
    race.expect(sorted(identities) == sorted(listed.values()), "ids are lost, or nobody was told of them")
    won = {(each.client, each.number) for each in outcomes if each.kind == "rename" and each.status == 200}
    for each in made:
        names = [name for name, identity in listed.items() if identity == each.value["File ID"]]
        is_renamed = (each.client, each.number) in won
        spare = renamed(each.number) if is_renamed else f"spare-{each.client}-{each.number}.png"
        expected = uploaded(each.number) if each.kind == "upload" else spare
        race.expect([expected] == names, f"{expected} is listed as {names}")
        answer = owner.call("GET", f"get-image/{each.value['File ID']}/")
        data = image(each.client, each.number)
        race.expect((200, data) == (answer.status_code, answer.content), f"{expected} has other bytes")


def _check_accounts(race: Race, owner: Client, outcomes: list[Outcome]) -> None:
    """The token of each winner opens its account, which is empty, and is told again."""
    won = [each for each in outcomes if each.kind == "account" and each.status == 201]
    for each in won:
        owner.token = each.value["token"]
        race.expect({} == owner.list_images(), f"account {each.number} is not that of its winner")
        race.expect(
            {account(each.number): owner.token} == owner.retrieve(account(each.number)),
            f"account {each.number} has another token",
        )
