"""When a worker is replaced, and what a supervisor makes of what it says."""

import json

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from filestored.daemon.listeners import Listening
from filestored.daemon.settings import LogSettings, Settings
from filestored.daemon.supervisor import LONGEST_PAUSE, QUICK_DEATHS, YOUNG, Backoff, Supervisor

SETTINGS = Settings(
    listen=("tcp:1",),
    store="/s",
    images="/i",
    hash_name=None,
    max_size=5,
    workers=2,
    drain=2.5,
    access_log="",
    log=LogSettings(),
)


def test_the_first_deaths_are_no_reason_to_wait():
    backoff = Backoff()
    assert [0.0] * (QUICK_DEATHS - 1) == [backoff.pause(0.1) for _ in range(QUICK_DEATHS - 1)]


def test_after_five_quick_deaths_the_pauses_grow_up_to_a_limit():
    backoff = Backoff()
    pauses = [backoff.pause(0.1) for _ in range(20)]
    assert [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE, LONGEST_PAUSE] == pauses[QUICK_DEATHS - 1 :][:7]


def test_a_long_life_is_forgiven():
    backoff = Backoff()
    for _ in range(QUICK_DEATHS):
        backoff.pause(0.1)
    assert 0.0 == backoff.pause(YOUNG)
    assert 0.0 == backoff.pause(0.1)


class Transport:
    """One process, as far as its parent sees it."""

    def __init__(self, pid, protocol):
        self.pid = pid
        self.said = b""
        self.let_go = False
        self.signals = []
        self.protocol = protocol

    def write(self, data):
        self.said += data

    def closeStdin(self):
        self.let_go = True

    def signalProcess(self, number):
        self.signals.append(number)

    def end(self, error):
        self.protocol.processEnded(Failure(error))


class Reactor(MemoryReactorClock):
    """Spawns nothing, and remembers it."""

    def __init__(self):
        super().__init__()
        self.transports = []

    def callWhenRunning(self, function, *args):
        function(*args)

    def spawnProcess(self, protocol, executable, args, env, childFDs):  # what ours passes
        transport = Transport(100 + len(self.transports), protocol)
        self.transports.append(transport)
        self.args, self.env, self.descriptors = args, env, childFDs
        protocol.makeConnection(transport)
        return transport


def started():
    reactor, lines = Reactor(), []
    supervisor = Supervisor(reactor, SETTINGS, lines.append)
    serving = supervisor.start([Listening("tcp:1", 9, 2)])
    return reactor, supervisor, serving, lines


def test_a_worker_learns_everything_from_stdin_and_nothing_from_argv():
    reactor, *_ = started()
    charge = json.loads(reactor.transports[0].said)
    assert SETTINGS == Settings.from_json(charge["settings"])
    assert [["tcp:1", 3, 2]] == charge["listening"]
    assert ["-P", "-m", "filestored.daemon.worker"] == reactor.args[1:]
    assert {0: "w", 1: "r", 2: "r", 3: 9} == reactor.descriptors


def test_it_serves_when_all_workers_say_so():
    reactor, _, serving, _ = started()
    reactor.transports[0].protocol.childDataReceived(1, b'"serv')
    reactor.transports[0].protocol.childDataReceived(1, b'ing"\n')
    assert not serving.called
    reactor.transports[1].protocol.childDataReceived(1, b'"serving"\n')
    assert serving.called


def test_lines_of_workers_are_passed_on_and_stray_output_is_kept():
    reactor, _, _, lines = started()
    say = reactor.transports[0].protocol.childDataReceived
    say(1, b'{"level": "INFO", "source": "a", "process": 100, "text": "hello {}"}\nnot json\n{"level": 1}\n')
    say(2, b"Traceback /token/s3cr3t/\n\x1b[31mhalf")
    reactor.transports[0].end(ProcessTerminated(signal=9))
    assert ["hello {}", "not json", '{"level": 1}', "Traceback /token/***/", "\\x1b[31mhalf"] == [
        line.text for line in lines
    ]
    assert {100} == {line.process for line in lines}


def test_a_dead_worker_is_replaced_at_once():
    reactor, *_ = started()
    reactor.transports[0].end(ProcessTerminated(signal=9))
    reactor.advance(0)
    assert 3 == len(reactor.transports)


def test_a_place_that_kills_workers_is_left_alone_for_a_while():
    reactor, *_ = started()
    for _ in range(QUICK_DEATHS):
        reactor.transports[-1].end(ProcessTerminated(1))
        reactor.advance(0)
    born = len(reactor.transports)
    reactor.advance(0.9)
    assert born == len(reactor.transports)
    reactor.advance(0.2)
    assert born + 1 == len(reactor.transports)


def test_a_stop_lets_go_and_waits_for_all():
    reactor, supervisor, *_ = started()
    stopped = supervisor.stop()
    assert [True, True] == [transport.let_go for transport in reactor.transports]
    for transport in reactor.transports:
        assert not stopped.called
        transport.end(ProcessDone(0))
    assert stopped.called
    assert [] == reactor.getDelayedCalls()


def test_a_worker_that_does_not_go_is_killed():
    reactor, supervisor, *_ = started()
    supervisor.stop()
    reactor.advance(SETTINGS.drain + 5)
    assert [[9], [9]] == [transport.signals for transport in reactor.transports]


def test_losing_patience_kills_all():
    reactor, supervisor, *_ = started()
    supervisor.stop()
    supervisor.abort()
    assert [[9], [9]] == [transport.signals for transport in reactor.transports]


def test_a_worker_that_was_about_to_be_replaced_is_not_when_we_stop():
    reactor, supervisor, *_ = started()
    for transport in reactor.transports[:2]:
        transport.end(ProcessTerminated(1))
    stopped = supervisor.stop()
    assert stopped.called
    reactor.advance(60)
    assert 2 == len(reactor.transports)


def test_reopening_is_said_to_all():
    reactor, supervisor, *_ = started()
    supervisor.reopen()
    assert [b"reopen"] * 2 == [transport.said.splitlines()[1] for transport in reactor.transports]
