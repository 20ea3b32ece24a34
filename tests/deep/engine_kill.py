"""SIGKILL of either of two daemons on one bucket, 20 times at random, under load.

A third of the clients connects to each daemon, a third to a balancer (nginx) in front of both. What was
acknowledged is there afterwards, and whole. Only requests on connections of a killed daemon fail.
"""

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass

from tests.daemon.reverse_proxy import running_proxy
from tests.daemon_process import Running, read
from tests.deep.bench import Bench, Verdict
from tests.deep.engine import engine, spool_of, start_on
from tests.engine_daemons import free_port, partial_objects, spooled
from tests.engine_load import Failure, Load, back, lost
from tests.seaweedfs import Prefix

KILLS = 20
CLIENTS = 4
"""Clients of each daemon, and of the balancer."""

BALANCER = """
log_format upstreams '$http_x_request $upstream_addr';
upstream daemons {{ random; {servers} }}
server {{
  listen 80; client_max_body_size 0; keepalive_requests 1000000;
  location / {{
    proxy_pass http://daemons; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host x; proxy_request_buffering off; access_log {log} upstreams;
  }}
}}
"""


@dataclass(frozen=True)
class Death:
    """A daemon was killed, and another one took its port; times of the monotonic clock."""

    address: str
    killed: float
    replaced: float


def prove(bench: Bench) -> Verdict:
    """Count lost and partial files, and failed requests on connections of living daemons."""
    with engine(bench, "nginx") as server:
        prefix = server.make_prefix()
        daemons = {name: _start(bench, prefix, name, free_port()) for name in ("first", "second")}
        ports = [str(daemon.port) for daemon in daemons.values()]
        servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
        log = os.path.join(bench.directory, "upstreams")
        configuration = BALANCER.format(servers=servers, log=log)
        with running_proxy("nginx", configuration, os.path.join(bench.directory, "proxy")) as balancer:
            load = Load([*ports, balancer] * CLIENTS, seed=3)
            deaths = _kill_at_random(bench, prefix, daemons)
            record = load.end()
        upstreams = dict(line.split(" ", 1) for line in read(log).splitlines())
        address = str(daemons["first"].port)
        unexcused = [each for each in record.failures if not _is_excused(each, deaths, upstreams)]
        wrong = [
            *record.wrong,
            *(f"{each}, passed to {upstreams.get(each.number, each.address)}" for each in unexcused),
            *(f"lost {digest}" for digest in lost(address, record)),
            *(f"back {digest}" for digest in back(address, record)),
            *(path for name in daemons for path in spooled(spool_of(bench, name))),
        ]
        objects, partial = partial_objects(prefix)
        for daemon in daemons.values():
            daemon.end()
    wrong += [f"partial {name}" for name in partial]
    figure = (
        f"{len(deaths)} kills, {len(record.successes)} right, {objects} objects, "
        f"{Counter(map(str, record.failures)).most_common()} on connections of killed daemons: "
        f"{Counter(wrong).most_common(5) or 'nothing wrong'}"
    )
    return Verdict(figure, not wrong and len(deaths) == KILLS)


def _start(bench: Bench, prefix: Prefix, name: str, port: int) -> Running:
    return start_on(bench, prefix, name=name, port=port)


def _kill_at_random(bench: Bench, prefix: Prefix, daemons: dict[str, Running]) -> list[Death]:
    """Kill and replace one of the daemons again and again."""
    dice, deaths = random.Random(3), []
    for _ in range(KILLS):
        time.sleep(dice.uniform(0.3, 2.0))
        name = dice.choice(list(daemons))
        killed = time.monotonic()
        daemons[name].kill(signal.SIGKILL)
        daemons[name].process.wait()
        daemons[name] = _start(bench, prefix, name, daemons[name].port)
        deaths.append(Death(str(daemons[name].port), killed, time.monotonic()))
    time.sleep(1.0)
    return deaths


def _is_excused(failure: Failure, deaths: list[Death], upstreams: dict[str, str]) -> bool:
    """Return whether the request was on a connection of a daemon that was killed meanwhile.

    `upstreams` are the addresses to which the balancer has passed each request, separated by commas. It also
    ends the connection of a client after a whole response, if the daemon died just then; the next request
    on that connection is not passed on.
    """
    named = upstreams.get(failure.number) or upstreams.get(failure.previous) or failure.address
    used = {address.strip().rpartition(":")[2] for address in named.split(",")}
    is_broken = not failure.complete or failure.response.status == 502 or len(used) > 1
    return is_broken and any(
        death.address in used and failure.opened <= death.replaced and failure.ended >= death.killed
        for death in deaths
    )
