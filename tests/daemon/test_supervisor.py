"""Supervisor: replacement of workers, and handling of their messages."""

import errno
import json
import os

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from filestored.daemon.backoff import MAX_QUICK_EXITS, MAX_RESTART_DELAY_SECONDS, MIN_UPTIME_SECONDS, Backoff
from filestored.daemon.listeners import ListeningSocket
from filestored.daemon.supervisor import Supervisor
from filestored.daemon.worker_process import MAX_LATE_OUTPUT_SECONDS, PING_SECONDS
from filestored.metrics.blocks import SharedBlocks
from filestored.metrics.recorder import Recorder
from filestored.metrics.table import CONNECTIONS, CONNECTIONS_MADE
from filestored.settings import LogSettings, Settings
from tests.daemon.spawned_processes import Reactor

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


def quick_deaths(number, *, interrupted=False):
    backoff = Backoff()
    return [backoff.delay(0.1, interrupted=interrupted) for _ in range(number)]


def test_first_quick_exits_cause_no_delay():
    assert [0.0] * (MAX_QUICK_EXITS - 1) == quick_deaths(MAX_QUICK_EXITS - 1)


def test_delays_grow_to_a_maximum_after_five_quick_exits():
    delays = quick_deaths(20)[MAX_QUICK_EXITS - 1 :]
    assert [1.0, 2.0, 4.0, 8.0, MAX_RESTART_DELAY_SECONDS, MAX_RESTART_DELAY_SECONDS] == delays[:6]


def test_delay_after_a_worker_that_served_or_was_killed_stays_short():
    assert [1.0, 1.0, 1.0] == quick_deaths(30, interrupted=True)[-3:]


def test_backoff_counts_any_number_of_exits():
    """2.0 ** 1024 is an OverflowError, which would have left the place empty."""
    assert MAX_RESTART_DELAY_SECONDS == quick_deaths(2000)[-1]


def test_long_uptime_resets_the_backoff():
    backoff = Backoff()
    for _ in range(MAX_QUICK_EXITS):
        backoff.delay(0.1, interrupted=False)
    assert 0.0 == backoff.delay(MIN_UPTIME_SECONDS, interrupted=False)
    assert 0.0 == backoff.delay(0.1, interrupted=False)


def started(*errors, status=lambda sentence: None):
    reactor, lines = Reactor(), []
    reactor.errors += errors
    supervisor = Supervisor(reactor, SETTINGS, lines.append, status, "filestored.worker")
    serving = supervisor.start([ListeningSocket("tcp:1", 9)])
    return reactor, supervisor, serving, lines


def test_worker_config_is_sent_on_stdin_and_not_in_argv():
    reactor, *_ = started()
    charge = json.loads(reactor.transports[0].said)
    assert SETTINGS == Settings.from_json(charge["settings"])
    assert [["tcp:1", 3, None]] == charge["listening"]
    assert ["-P", "-m", "filestored.worker"] == reactor.args[1:]
    assert {0: "w", 1: "r", 2: "r", 3: 9} == reactor.descriptors


def test_each_worker_inherits_the_blocks_of_metrics_and_has_its_own():
    blocks = SharedBlocks.create(3)
    reactor = Reactor()
    supervisor = Supervisor(reactor, SETTINGS, print, print, "filestored.worker", metrics=blocks)
    supervisor.start([ListeningSocket("tcp:1", 9)])
    assert {0: "w", 1: "r", 2: "r", 3: 9, 4: blocks.descriptor} == reactor.descriptors
    places = [json.loads(each.said)["metrics"] for each in reactor.transports]
    assert [[4, 3, 0], [4, 3, 1]] == places
    os.close(blocks.descriptor)


def test_death_of_a_worker_clears_the_gauges_of_its_block():
    blocks = SharedBlocks.create(3, shared=False)
    reactor = Reactor()
    supervisor = Supervisor(reactor, SETTINGS, print, print, "filestored.worker", metrics=blocks)
    supervisor.start([ListeningSocket("tcp:1", 9)])
    for block in blocks.blocks:
        Recorder(block).connection_made()
    reactor.transports[1].end(ProcessTerminated(signal=9))
    assert [1, 0, 1] == [block.value(CONNECTIONS) for block in blocks.blocks]
    assert [1, 1, 1] == [block.value(CONNECTIONS_MADE) for block in blocks.blocks]
    assert 1 == supervisor.restarts


def test_supervisor_serves_once_all_workers_serve():
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
    assert {100, reactor.transports[0].pid} == {line.process for line in lines}


def test_exited_worker_is_replaced_at_once():
    reactor, *_ = started()
    reactor.transports[0].end(ProcessTerminated(signal=9))
    reactor.advance(0)
    assert 3 == len(reactor.transports)


def test_slot_with_quick_exits_waits_before_the_next_spawn():
    reactor, *_ = started()
    for _ in range(MAX_QUICK_EXITS):
        reactor.transports[-1].end(ProcessTerminated(1))
        reactor.advance(0)
    started_at = len(reactor.transports)
    reactor.advance(0.9)
    assert started_at == len(reactor.transports)
    reactor.advance(0.2)
    assert started_at + 1 == len(reactor.transports)


def test_stop_closes_control_pipes_and_waits_for_all_workers():
    reactor, supervisor, *_ = started()
    stopped = supervisor.stop()
    assert [True, True] == [transport.close_control_pipe for transport in reactor.transports]
    for transport in reactor.transports:
        assert not stopped.called
        transport.end(ProcessDone(0))
    assert stopped.called
    assert [] == reactor.getDelayedCalls()


def test_worker_that_exceeds_the_drain_timeout_is_killed():
    reactor, supervisor, *_ = started()
    supervisor.stop()
    reactor.advance(SETTINGS.drain + 5)
    assert [[9], [9]] == [transport.signals for transport in reactor.transports]


def test_abort_kills_all_workers():
    reactor, supervisor, *_ = started()
    supervisor.stop()
    supervisor.abort()
    assert [[9], [9]] == [transport.signals for transport in reactor.transports]


def test_stop_cancels_pending_restarts():
    reactor, supervisor, *_ = started()
    for transport in reactor.transports[:2]:
        transport.end(ProcessTerminated(1))
    stopped = supervisor.stop()
    assert stopped.called
    reactor.advance(60)
    assert 2 == len(reactor.transports)


def test_reopen_is_sent_to_all_workers():
    reactor, supervisor, *_ = started()
    supervisor.reopen()
    assert [b"reopen"] * 2 == [transport.said.splitlines()[1] for transport in reactor.transports]


# --- a worker that cannot be started ------------------------------------------------------------


def says(transport, message):
    transport.protocol.childDataReceived(1, json.dumps(message).encode() + b"\n")


def living(reactor):
    return [transport for transport in reactor.transports if not transport.ended]


def no_processes():
    return OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def test_a_failed_spawn_is_tried_again():
    reactor, _, serving, _ = started(no_processes())
    assert 1 == len(reactor.transports)
    reactor.advance(0)
    assert 2 == len(reactor.transports)
    for transport in reactor.transports:
        says(transport, "serving")
    assert serving.called


def test_failed_spawn_counts_as_a_quick_exit():
    reactor, *_ = started(*[no_processes() for _ in range(2 * MAX_QUICK_EXITS)])
    reactor.pump([0.0] * 2 * MAX_QUICK_EXITS)
    assert [] == reactor.transports
    reactor.advance(1.0)
    assert 2 == len(reactor.transports)


def test_while_no_worker_exists_the_next_try_comes_within_two_seconds():
    reactor, *_ = started(*[no_processes() for _ in range(100)])
    reactor.pump([0.0] * 2 * MAX_QUICK_EXITS)
    for _ in range(20):
        left = len(reactor.errors)
        reactor.advance(2.0)
        assert left - 2 <= len(reactor.errors) < left
    reactor.errors.clear()
    reactor.advance(2.0)
    says(reactor.transports[0], "serving")
    reactor.advance(2.0)
    assert 2 == len(reactor.transports), "the other place does not wait longer than for the first one"


def test_a_missing_interpreter_does_not_stop_the_supervisor():
    reactor, supervisor, *_ = started(FileNotFoundError(2, "No such file", "python"))
    assert supervisor.stop().called is False
    reactor.transports[0].end(ProcessDone(0))
    assert [] == reactor.getDelayedCalls()


def test_a_stop_while_no_worker_could_be_started_ends_at_once():
    reactor, supervisor, *_ = started(no_processes(), no_processes())
    assert supervisor.stop().called
    assert [] == reactor.getDelayedCalls()


def test_messages_to_an_empty_slot_are_dropped():
    _, supervisor, *_ = started(no_processes(), no_processes())
    supervisor.reopen()
    supervisor.abort()


def test_a_worker_is_replaced_at_its_exit_although_its_pipes_are_still_open():
    """A process that the worker has forked, and that hangs, holds them."""
    reactor, _, _, lines = started()
    first = reactor.transports[0]
    first.exit(ProcessTerminated(signal=9))
    reactor.advance(0)
    assert 3 == len(reactor.transports)
    first.protocol.childDataReceived(2, b"last words\n")
    assert ["last words"] == [line.text for line in lines]
    assert not first.closed
    reactor.advance(MAX_LATE_OUTPUT_SECONDS)
    assert first.closed


def test_a_stop_ends_although_a_pipe_of_a_worker_stays_open():
    reactor, supervisor, *_ = started()
    stopped = supervisor.stop()
    for transport in reactor.transports:
        transport.exit(ProcessDone(0))
    assert not stopped.called
    reactor.advance(MAX_LATE_OUTPUT_SECONDS)
    assert [True, True] == [transport.closed for transport in reactor.transports]
    for transport in reactor.transports:
        transport.protocol.processEnded(Failure(ProcessDone(0)))
    assert stopped.called


def test_late_output_of_an_earlier_worker_does_not_end_a_stop():
    reactor, supervisor, *_ = started()
    first = reactor.transports[0]
    first.exit(ProcessTerminated(signal=9))
    reactor.advance(0)
    stopped = supervisor.stop()
    reactor.transports[1].end(ProcessDone(0))
    first.protocol.processEnded(Failure(ProcessTerminated(signal=9)))
    assert not stopped.called
    reactor.transports[2].end(ProcessDone(0))
    assert stopped.called


# --- heartbeat ----------------------------------------------------------------------------------


def beats(reactor, number, *, answer=()):
    """Let so many heartbeats pass; the workers `answer` to each ping."""
    for _ in range(number):
        reactor.advance(PING_SECONDS)
        for transport in answer:
            says(transport, "alive")


def serve(reactor):
    for transport in reactor.transports:
        says(transport, "serving")


def test_a_worker_that_leaves_pings_unanswered_is_killed_after_15_seconds():
    reactor, *_ = started()
    serve(reactor)
    silent, answering = reactor.transports
    beats(reactor, 4, answer=[answering])
    assert ([], []) == (silent.signals, answering.signals)
    beats(reactor, 1, answer=[answering])
    assert ([9], []) == (silent.signals, answering.signals)
    beats(reactor, 10, answer=[answering])
    assert [9] == silent.signals, "once is enough"
    assert 4 == silent.said.count(b"ping\n")


def test_worker_that_answers_pings_is_not_killed():
    reactor, *_ = started()
    serve(reactor)
    beats(reactor, 100, answer=reactor.transports)
    assert [[], []] == [transport.signals for transport in reactor.transports]


def test_a_supervisor_that_was_stopped_for_an_hour_kills_no_worker():
    """Or one whose clock has stepped: pings are counted, not seconds."""
    reactor, *_ = started()
    serve(reactor)
    reactor.advance(3600)
    reactor.advance(3600)
    assert [[], []] == [transport.signals for transport in reactor.transports]


def test_a_worker_may_take_a_minute_to_start():
    reactor, *_ = started()
    says(reactor.transports[0], "serving")
    for _ in range(20):
        beats(reactor, 1, answer=[reactor.transports[0]])
        assert [] == reactor.transports[1].signals
    beats(reactor, 1, answer=[reactor.transports[0]])
    assert [9] == reactor.transports[1].signals


def test_draining_worker_is_not_killed_before_the_timeout():
    reactor, supervisor, *_ = started()
    serve(reactor)
    beats(reactor, 4)
    supervisor.stop()
    reactor.advance(SETTINGS.drain + 4)
    assert [[], []] == [transport.signals for transport in reactor.transports]


def test_the_service_is_alive_while_one_worker_answers():
    reactor, supervisor, *_ = started()
    assert not supervisor.alive()
    serve(reactor)
    first, second = reactor.transports
    beats(reactor, 20, answer=[first])
    assert supervisor.alive()
    first.end(ProcessTerminated(signal=9))
    assert not supervisor.alive()
    says(second, "alive")
    assert supervisor.alive()
    beats(reactor, 3)
    assert not supervisor.alive()


def test_worker_that_does_not_answer_does_not_count_as_one_that_serves():
    reactor, supervisor, *_ = started()
    serve(reactor)
    answering, silent = reactor.transports
    assert 2 == supervisor.serving()
    beats(reactor, 3, answer=[answering])
    assert 1 == supervisor.serving()
    beats(reactor, 10, answer=[answering])
    assert [9] == silent.signals, "it is killed, but a hung disk keeps its process"
    assert 1 == supervisor.serving()
    says(silent, "alive")
    assert 2 == supervisor.serving()


def test_the_status_counts_the_workers_that_serve():
    sentences = []
    reactor, supervisor, *_ = started(status=sentences.append)
    serve(reactor)
    reactor.transports[0].end(ProcessTerminated(signal=9))
    supervisor.stop()
    reactor.transports[1].end(ProcessDone(0))
    assert [f"{number} of 2 workers serve" for number in (1, 2, 1)] == sentences


def test_workers_that_are_killed_after_they_served_are_replaced_within_a_second():
    reactor, *_ = started()
    for _ in range(22):
        for transport in living(reactor):
            says(transport, "serving")
        for transport in living(reactor):
            transport.end(ProcessTerminated(signal=9))
        reactor.advance(1.0)
        assert 2 == len(living(reactor))


def test_workers_that_are_killed_as_they_start_are_replaced_within_a_second():
    reactor, *_ = started()
    for _ in range(22):
        for transport in living(reactor):
            transport.end(ProcessTerminated(signal=9))
        reactor.advance(1.0)
        assert 2 == len(living(reactor))


def test_a_worker_that_exits_as_it_starts_is_tried_again_with_growing_delays():
    reactor, *_ = started()
    tries = []
    for _ in range(60):
        for transport in living(reactor):
            transport.end(ProcessTerminated(1))
        reactor.advance(1.0)
        tries.append(len(reactor.transports))
    assert tries[-1] - tries[9] <= 30  # one place every 2 s, the other every 15 s; 100 without delays


# --- suspended writes ---------------------------------------------------------------------------


def told(transport):
    """The suspensions in all that was written to a worker, its configuration included."""
    first, *others = [json.loads(line) for line in transport.said.splitlines() if line.startswith(b"{")]
    return first["suspensions"] + [each["suspended"] for each in others]


def test_suspension_is_sent_to_all_workers_and_to_later_ones():
    reactor, *_ = started()
    serve(reactor)
    says(reactor.transports[0], {"suspended": [7, "EIO", True]})
    reactor.transports[0].end(ProcessTerminated(signal=9))
    reactor.advance(0)
    assert [[7, "EIO", True]] == told(reactor.transports[1])
    assert [[7, "EIO", True]] == told(reactor.transports[2])


def test_temporary_suspension_is_not_sent_to_later_workers():
    reactor, *_ = started()
    serve(reactor)
    says(reactor.transports[0], {"suspended": [7, "EROFS", False]})
    reactor.transports[0].end(ProcessTerminated(signal=9))
    reactor.advance(0)
    assert [[7, "EROFS", False]] == told(reactor.transports[1])
    assert [] == told(reactor.transports[2])
