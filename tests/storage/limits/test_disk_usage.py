"""Usage ledger on a disk: counts of a process that is alone, several processes, kills, failed calls."""

import errno
import fcntl
import os
import signal
import threading
from contextlib import suppress
from functools import partial

import pytest
from twisted.logger import capturedLogs

from filestored.errors import NotFound, QuotaExceeded, StoreMissing
from filestored.interfaces import BucketLimits, Usage
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.health import ReadFailed
from filestored.storage.limits.disk_usage import LOCK, USAGE, DiskUsage, UncountedDiskUsage
from filestored.storage.limits.limited_backend import LimitedBackend
from filestored.storage.limits.usage_count import count_usage
from filestored.storage.memory import MemoryBackend
from tests.storage.contract import HELLO, MD5, digest_of, put, watched

LIMITS = BucketLimits(quota_bytes=100, quota_files=10)


@pytest.fixture
def memory():
    backend = MemoryBackend(MD5)
    put(backend, HELLO)
    return backend


@pytest.fixture
def ledgers(tmp_path, memory):
    """A function that makes ledgers of one directory, as several processes have them."""
    made = []

    def make(calls: Syscalls | None = None, backend=memory):
        made.append(DiskUsage(str(tmp_path), backend, calls))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_ledger_that_is_alone_counts_the_files(ledgers):
    ledger = ledgers()
    assert not ledger.is_open
    ledger.open()
    ledger.open()
    assert (True, Usage(1, 5), Usage(1, 5)) == (ledger.is_open, ledger.cached(), ledger.current())


def test_counters_are_shared(ledgers):
    first, second = ledgers(), ledgers()
    first.open()
    second.open()
    first.reserve(10, LIMITS)
    second.add(Usage(-1, -5))
    second.reserve(20, LIMITS)
    assert Usage(2, 30) == first.cached() == second.cached() == first.current() == second.current()


def test_second_ledger_does_not_count(ledgers, memory):
    first, second = ledgers(), ledgers()
    first.open()
    first.reserve(10, LIMITS)  # and nothing is stored yet
    second.open()
    assert Usage(2, 15) == second.current()


def test_ledger_counts_again_after_all_others_were_closed(ledgers):
    first, second = ledgers(), ledgers()
    first.open()
    second.open()
    first.reserve(10, LIMITS)
    first.close()
    third = ledgers()
    third.open()
    assert Usage(2, 15) == third.current()
    second.close()
    third.close()
    last = ledgers()
    last.open()
    assert Usage(1, 5) == last.current()


TABLE = {
    "exactly full": (95, None),
    "one byte more": (96, "100 bytes"),
    "no bytes": (0, None),
}


@pytest.mark.parametrize("case", TABLE)
def test_reservation_is_refused_beyond_the_quota(ledgers, case):
    size, text = TABLE[case]
    ledger = ledgers()
    ledger.open()
    if text is None:
        ledger.reserve(size, LIMITS)
        assert Usage(2, 5 + size) == ledger.current()
    else:
        with pytest.raises(QuotaExceeded, match=text):
            ledger.reserve(size, LIMITS)
        assert Usage(1, 5) == ledger.current()


def test_reservation_is_refused_beyond_the_number_of_files(ledgers):
    ledger = ledgers()
    ledger.open()
    for _ in range(9):
        ledger.reserve(0, LIMITS)
    with pytest.raises(QuotaExceeded, match="10 files"):
        ledger.reserve(0, LIMITS)
    assert Usage(10, 5) == ledger.current()


def test_opening_waits_for_the_count_of_another_process(ledgers, memory, tmp_path):
    counting, released = threading.Event(), threading.Event()

    class SlowBackend(MemoryBackend):
        def entries(self, after, limit):
            counting.set()
            assert released.wait(20)
            return memory.entries(after, limit)

    first, second = ledgers(backend=SlowBackend(MD5)), ledgers()
    threads = [threading.Thread(target=first.open), threading.Thread(target=second.open)]
    threads[0].start()
    assert counting.wait(20)
    threads[1].start()
    threads[1].join(0.1)
    assert (False, False) == (first.is_open, second.is_open)
    released.set()
    for thread in threads:
        thread.join(20)
    assert (True, True) == (first.is_open, second.is_open)
    assert Usage(1, 5) == second.current()


def test_count_that_was_not_completed_is_made_again(ledgers, tmp_path):
    """The process that counted has died; the next one that waited finds no mark."""
    counter = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(counter, fcntl.LOCK_EX)
    ledger = ledgers()
    thread = threading.Thread(target=ledger.open)
    thread.start()
    thread.join(0.05)
    assert not ledger.is_open
    os.close(counter)
    thread.join(20)
    assert (True, Usage(1, 5)) == (ledger.is_open, ledger.current())


def test_two_ledgers_that_find_no_count_both_open(ledgers, tmp_path):
    holder = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_SH)  # present, without a count
    both = [ledgers(), ledgers()]
    threads = [threading.Thread(target=each.open) for each in both]
    for thread in threads:
        thread.start()
    os.close(holder)
    for thread in threads:
        thread.join(20)
    assert [True, True] == [each.is_open for each in both]
    assert [Usage(1, 5)] * 2 == [each.current() for each in both]


def test_figure_of_before_a_count_that_was_not_completed_is_not_used(ledgers, memory):
    """A process that waits for the count must not find the mark of an earlier count."""
    counting, released = threading.Event(), threading.Event()

    class Failing(MemoryBackend):
        def entries(self, after, limit):
            counting.set()
            assert released.wait(20)
            raise OSError(errno.EACCES, "planted")

    first = ledgers()
    first.open()
    first.close()
    put(memory, b"more")
    failing, waiting = ledgers(backend=Failing(MD5)), ledgers()
    threads = [threading.Thread(target=partial(_open_suppressed, each)) for each in (failing, waiting)]
    threads[0].start()
    assert counting.wait(20)
    threads[1].start()
    threads[1].join(0.05)
    released.set()
    for thread in threads:
        thread.join(20)
    assert (False, Usage(2, 9)) == (failing.is_open, waiting.current())


def _open_suppressed(ledger: DiskUsage) -> None:
    with suppress(OSError):
        ledger.open()


def test_failed_count_leaves_no_descriptor_and_is_repeated(ledgers, memory, tmp_path):
    class Failing(MemoryBackend):
        def entries(self, after, limit):
            raise OSError(errno.EACCES, "planted")

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="planted"):
        ledgers(backend=Failing(MD5)).open()
    assert before == len(os.listdir("/proc/self/fd"))
    ledger = ledgers()
    ledger.open()
    assert Usage(1, 5) == ledger.current()


def test_change_that_failed_is_made_with_the_next_one(ledgers):
    failing: set[str] = set()

    def fail(name, _):
        if name in failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    ledger = ledgers(watched(fail))
    ledger.open()
    for name in ("flock", "pread", "pwrite"):
        failing.add(name)
        with capturedLogs() as logs:
            ledger.add(Usage(-1, -5))
        assert ["error"] == [each["log_level"].name for each in logs]
        failing.clear()
        ledger.add(Usage(1, 5))
        assert Usage(1, 5) == ledger.current()
    failing.add("pwrite")
    with pytest.raises(OSError, match="Input/output error"):
        ledger.reserve(1, LIMITS)
    failing.clear()
    assert Usage(1, 5) == ledger.current()


def test_closed_ledger_has_no_effect(ledgers):
    first, other = ledgers(), ledgers()
    first.open()
    other.open()
    first.close()
    first.close()
    first.open()
    first.reserve(1000, LIMITS)
    first.add(Usage(5, 5))
    assert (False, Usage(0, 0)) == (first.is_open, first.current())
    assert Usage(1, 5) == other.current()


@pytest.mark.parametrize("content", [b"cou", b"\xff" * 24, b"counted\n" + b"\x7f" * 16, b"\0" * 24])
def test_damaged_counters_are_an_error_until_a_count(ledgers, tmp_path, content):
    ledger = ledgers()
    ledger.open()
    (tmp_path / USAGE).write_bytes(content)
    with pytest.raises(ReadFailed, match="usage is damaged"):
        ledger.reserve(1, LIMITS)
    ledger.close()
    again = ledgers()
    again.open()
    assert Usage(1, 5) == again.current()


def test_ledger_of_a_removed_directory_is_missing(memory, tmp_path):
    with pytest.raises(StoreMissing):
        DiskUsage(str(tmp_path / "removed"), memory).open()


def test_files_are_deleted_while_the_ledger_cannot_be_opened(memory, tmp_path):
    """A full disk has no room for the counters, and must not prevent deletions."""

    def fail(name, _):
        if name == "pwrite":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    limited = LimitedBackend(memory, lambda backend: DiskUsage(str(tmp_path), backend, watched(fail)))
    limited.set_limits(LIMITS)
    with pytest.raises(OSError, match="No space left"):
        put(limited, b"world")
    assert limited.delete(digest_of(HELLO))
    with pytest.raises(NotFound):
        memory.describe(digest_of(HELLO))
    limited.close()


class KilledSink:
    """A sink whose process is killed when it publishes."""

    def __init__(self, sink) -> None:
        self.write, self.seal, self.discard = sink.write, sink.seal, sink.discard

    def publish(self, digest):
        os.kill(os.getpid(), signal.SIGKILL)


class KilledLedger(DiskUsage):
    """A ledger whose process is killed before it subtracts."""

    def add(self, change):
        os.kill(os.getpid(), signal.SIGKILL)


class KilledBackend(MemoryBackend):
    """A backend whose process is killed when it counts."""

    def entries(self, after, limit):
        os.kill(os.getpid(), signal.SIGKILL)


def fork(function) -> int:
    """Call a function in a child process; return its id. The child ends with status 0 if it returns."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        function()
        status = 0
    finally:
        os._exit(status)


def opened_limited(place: str, make: type[DiskUsage] = DiskUsage, quota: int = 1000) -> LimitedBackend:
    """The store at `place` with a quota, opened by this process."""
    limited = LimitedBackend(DiskBackend(place, MD5, reserve=0), partial(make, place))
    limited.set_limits(BucketLimits(quota_bytes=quota))
    limited.open_ledger()
    return limited


def killed_during_a_count(place: str) -> None:
    DiskUsage(place, KilledBackend(MD5)).open()


def killed_before_a_publication(place: str) -> None:
    limited = opened_limited(place)
    begin = limited._backend.begin
    limited._backend.begin = lambda: KilledSink(begin())
    put(limited, b"four")


def killed_after_a_deletion(place: str) -> None:
    limited = opened_limited(place, KilledLedger)
    put(limited, b"four")
    limited.delete(digest_of(b"four"))


@pytest.mark.parametrize("act", [killed_during_a_count, killed_before_a_publication, killed_after_a_deletion])
def test_usage_is_exact_when_all_processes_were_killed(disk, place, act):
    put(disk, HELLO)
    assert (True, signal.SIGKILL) == _end_of(fork(partial(act, place)))
    ledger = DiskUsage(place, disk)
    ledger.open()
    assert Usage(1, 5) == ledger.current() == count_usage(disk)
    ledger.close()


@pytest.mark.parametrize("act", [killed_before_a_publication, killed_after_a_deletion])
def test_kill_beside_another_process_leaves_a_figure_that_is_too_high(disk, place, act):
    put(disk, HELLO)
    other = opened_limited(place)
    assert (True, signal.SIGKILL) == _end_of(fork(partial(act, place)))
    assert Usage(2, 9) == other.recorded_usage()
    assert Usage(1, 5) == count_usage(disk)
    other.close()
    other._backend.close()


def _end_of(child: int) -> tuple[bool, int]:
    """Wait for a process; return whether a signal has ended it, and its number or the status."""
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), os.WTERMSIG(status) or os.WEXITSTATUS(status)


def test_several_processes_keep_one_quota(disk, place):
    """Each of them could use it up."""
    quota, size = 200, len("0 00")

    def use_up(name: int) -> None:
        limited = opened_limited(place, quota=quota)
        start_read, _ = start
        os.read(start_read, 1)
        with suppress(QuotaExceeded):
            for number in range(100):
                put(limited, f"{name} {number:02}".encode())
            raise AssertionError("the quota has no effect")

    start = os.pipe()
    children = [fork(partial(use_up, name)) for name in range(4)]
    os.write(start[1], b"1234")
    assert [(False, 0)] * 4 == list(map(_end_of, children))
    for each in start:
        os.close(each)
    assert Usage(quota // size, quota) == count_usage(disk)
    ledger = DiskUsage(place, disk)
    ledger.open()
    assert Usage(quota // size, quota) == ledger.current()
    ledger.close()


# --- a process that only removes files -----------------------------------------------------------


@pytest.fixture
def removing(tmp_path, memory):
    """A ledger of a process that only removes files."""
    ledger = UncountedDiskUsage(str(tmp_path), memory)
    yield ledger
    ledger.close()


def test_removal_without_another_process_counts_no_files(removing, memory, monkeypatch):
    monkeypatch.setattr(memory, "entries", None)
    removing.open()
    removing.add(Usage(-1, -5))
    assert removing.is_open


def test_ledger_that_is_opened_during_removals_counts_at_their_end(removing, ledgers, memory):
    removing.open()
    ledger = ledgers()
    opening = threading.Thread(target=ledger.open)
    opening.start()
    memory.delete(digest_of(HELLO))
    removing.add(Usage(-1, -5))
    assert not ledger.is_open
    removing.close()
    opening.join()
    assert Usage(0, 0) == ledger.current()


def test_removal_beside_another_process_is_recorded(removing, ledgers, memory, monkeypatch):
    ledger = ledgers()
    ledger.open()
    monkeypatch.setattr(memory, "entries", None)
    removing.open()
    removing.add(Usage(-1, -5))
    assert Usage(0, 0) == ledger.current()


def test_figure_of_an_earlier_process_is_not_used_after_removals(removing, ledgers, memory):
    former = ledgers()
    former.open()
    former.close()
    removing.open()
    memory.delete(digest_of(HELLO))
    removing.close()
    ledger = ledgers()
    ledger.open()
    assert Usage(0, 0) == ledger.current()
