"""Usage ledger in an object store: merged swaps, several daemons, lost requests and answers."""

import json
import threading

import pytest
from twisted.logger import capturedLogs

from filestored.errors import EngineError, QuotaExceeded
from filestored.interfaces import BucketLimits, Usage
from filestored.storage.thread_pool import in_parallel
from tests.storage.contract import HELLO, MD5, digest_of, put
from tests.storage.object_stores import ENGINES, open_backend, opened_client

pytestmark = pytest.mark.needs("obstore")

LIMITS = BucketLimits(quota_bytes=100, quota_files=50)
TEN = Usage(1, 10)


@pytest.fixture
def prepared(memory, tmp_path):
    """A client of a store in memory, with one file."""
    put(open_backend(memory, MD5, str(tmp_path)), HELLO)
    return memory


@pytest.fixture
def make(prepared, tmp_path):
    """A function that makes ledgers of one store, as several daemons have them."""
    from filestored.storage.limits.object_usage import ObjectUsage

    return lambda client=prepared: ObjectUsage(client, open_backend(client, MD5, str(tmp_path)))


@pytest.fixture
def requests(monkeypatch):
    """The requests of all clients, which can be made to fail."""
    from tests.storage.object_store.engine import watched_requests

    with watched_requests(monkeypatch) as found:
        yield found


def opened(ledger):
    ledger.open()
    return ledger


@pytest.mark.parametrize("memory", ENGINES, indirect=True)
def test_usage_is_counted_at_opening_and_shared(make):
    first, second = opened(make()), opened(make())
    assert Usage(1, 5) == first.cached() == second.current()
    first.reserve(10, LIMITS)
    second.reserve(20, LIMITS)
    second.add(Usage(-1, -5))
    assert Usage(2, 30) == first.current() == second.cached()


@pytest.fixture
def memory(request):
    """A client of an empty store; in memory, unless a test says otherwise."""
    if not hasattr(request, "param"):
        request.param = "object store in memory"
    with opened_client(request) as client:
        yield client


@pytest.mark.parametrize("size", [96, 1000])
def test_reservation_beyond_the_quota_is_refused_without_a_swap(make, requests, size):
    ledger = opened(make())
    puts = requests.count("put")
    with pytest.raises(QuotaExceeded, match="100 bytes"):
        ledger.reserve(size, LIMITS)
    assert (Usage(1, 5), puts) == (ledger.current(), requests.count("put"))


def test_waiting_changes_are_merged_into_one_swap(make, requests, monkeypatch):
    """While the first swap is under way, nine others wait for the second one; what frees room comes first."""
    ledger = opened(make())
    began, released = threading.Event(), threading.Event()
    find = ledger._find

    def slow_find():
        began.set()
        assert released.wait(20)
        return find()

    monkeypatch.setattr(ledger, "_find", slow_find)
    refused = []

    def change(number: int) -> None:
        if number == 0:
            ledger.reserve(10, LIMITS)
        elif number == 8:
            ledger.add(Usage(-1, -5))
        else:
            try:
                ledger.reserve(15, LIMITS)
            except QuotaExceeded:
                refused.append(number)

    puts = requests.count("put")
    threads = [threading.Thread(target=change, args=(number,)) for number in range(9)]
    threads[0].start()
    assert began.wait(20)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(ledger._waiting) == 8)
    released.set()
    for thread in threads:
        thread.join(20)
    assert (Usage(7, 100), 1) == (ledger.current(), len(refused))
    assert 2 == requests.count("put") - puts


def wait_until(condition) -> None:
    """Wait for a condition that threads bring about."""
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen")


def test_several_daemons_lose_no_change(make):
    ledgers = [opened(make()) for _ in range(3)]

    def work(number: int) -> None:
        for _ in range(10):
            ledgers[number % 3].reserve(2, LIMITS)
            ledgers[number % 3].add(Usage(-1, -1))

    in_parallel(work, range(6), 6)
    assert [Usage(1, 65)] * 3 == [each.current() for each in ledgers]


def test_several_daemons_keep_one_quota(make):
    ledgers = [opened(make()) for _ in range(3)]

    def reserve(number: int) -> bool:
        try:
            ledgers[number % 3].reserve(10, LIMITS)
        except QuotaExceeded:
            return False
        return True

    assert 9 == sum(in_parallel(reserve, range(30), 6))
    assert Usage(10, 95) == ledgers[0].current()


FAULTS = [
    [(name, applied) for applied in mask]
    for name in ("put", "get")
    for mask in ((False,), (True,), (False, False), (True, True), (False, True), (True, False))
]


@pytest.mark.parametrize("faults", FAULTS, ids=str)
@pytest.mark.parametrize("kind", ["reserve", "add", "both"])
@pytest.mark.parametrize("other", [False, True])
def test_request_without_an_answer_changes_the_usage_once(make, requests, faults, kind, other):
    """Whatever was made of a failed swap is kept if its caller wants it, and taken back by the next one.

    `other`: another daemon changes the record between the request and the next look at it.
    """
    ledger, daemon = opened(make()), opened(make())
    expected, changes = 5, []
    for number, (name, applied) in enumerate(faults):
        is_met = other and number == len(faults) - 1  # by a last request: the daemon makes some itself
        then = (lambda: changes.append(daemon.reserve(1, LIMITS))) if is_met else (lambda: None)
        requests.fail(name, "usage", applied=applied, then=then)
    with capturedLogs():
        if kind in ("reserve", "both"):
            try:
                ledger.reserve(10, LIMITS)
                expected += 10
            except EngineError:
                pass
        if kind in ("add", "both"):
            ledger.add(Usage(0, -3))
            expected -= 3
        ledger.add(Usage(0, 1))
    requests._faults.clear()
    ledger.add(Usage(0, 1))
    assert expected + 2 + len(changes) == ledger.current().bytes


def test_swap_whose_outcome_stays_unknown_is_taken_back(make, requests):
    """The PUT is made, but neither its answer nor the record can be read in the same swap."""
    ledger = opened(make())
    requests.fail("put", "usage", applied=True, then=lambda: requests.fail("get", "usage"))
    ledger._client.timeout = 0.0
    with capturedLogs(), pytest.raises(EngineError):
        ledger.reserve(10, LIMITS)
    requests._faults.clear()
    assert Usage(2, 15) == ledger.current()
    ledger.reserve(1, LIMITS)
    assert Usage(2, 6) == ledger.current()


def test_deletion_during_an_outage_is_recorded_later(make, requests):
    ledger = opened(make())
    for _ in range(40):
        requests.fail("get", "usage")
    with capturedLogs():
        ledger.add(Usage(-1, -5))
    requests._faults.clear()
    ledger.reserve(7, LIMITS)
    assert Usage(1, 7) == ledger.current()


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"files": 1}', b'{"files": "x", "bytes": 1, "marks": []}']
)
def test_damaged_record_is_counted_again(make, prepared, damage):
    ledger = opened(make())
    prepared.put("usage", damage)
    ledger.reserve(1, LIMITS)
    assert Usage(2, 6) == ledger.current()


def test_missing_record_is_counted_again(make, prepared):
    ledger = opened(make())
    ledger.reserve(10, LIMITS)
    prepared.delete("usage")
    assert Usage(1, 5) == ledger.current()


def test_count_is_repeated_while_other_daemons_change_the_record(make, monkeypatch):
    daemon, ledger = opened(make()), make()
    changes = []
    entries = ledger._backend.entries

    def changed_meanwhile(after, limit):
        if len(changes) < 2:
            changes.append(daemon.reserve(1, LIMITS))
        return entries(after, limit)

    monkeypatch.setattr(ledger._backend, "entries", changed_meanwhile)
    ledger.open()
    assert (2, Usage(1, 5)) == (len(changes), ledger.current())


def test_recorded_usage_stays_while_other_daemons_change_it_all_the_time(make, monkeypatch):
    daemon, ledger = opened(make()), make()
    entries = ledger._backend.entries

    def changed_meanwhile(after, limit):
        daemon.reserve(1, LIMITS)
        return entries(after, limit)

    monkeypatch.setattr(ledger._backend, "entries", changed_meanwhile)
    ledger.open()
    assert Usage(6, 10) == ledger.current()


def test_record_keeps_the_marks_of_the_last_swaps_only(make, prepared):
    ledger = opened(make())
    for _ in range(70):
        ledger.add(Usage(0, 1))
    record = json.loads(prepared.read("usage")[0])
    assert (1, 75, 64) == (record["files"], record["bytes"], len(record["marks"]))
    assert 64 == len(set(record["marks"]))


def test_figure_of_an_upload_in_progress_is_read_once_in_a_while(make, requests):
    ledger = opened(make())
    gets = requests.count("get")
    for _ in range(10):
        ledger.current(60.0)
    assert (True, gets) == (ledger.is_fresh, requests.count("get"))
    ledger.current()
    assert gets + 1 == requests.count("get")


def test_closed_ledger_has_no_effect(make):
    ledger, other = opened(make()), opened(make())
    ledger.close()
    ledger.open()
    ledger.reserve(1000, LIMITS)
    ledger.add(TEN)
    assert (False, Usage(0, 0)) == (ledger.is_open, ledger.current())
    assert Usage(1, 5) == other.current()


@pytest.mark.parametrize("made", ["never", "before the next swap", "during the next swap"])
def test_delayed_put_is_resolved_by_a_later_version(make, prepared, made):
    """A PUT that is made after all looks at the record: only a newer version tells that it never will be."""
    ledger = opened(make())
    replace, delayed = prepared.replace, []

    def lose(key, data, version):
        delayed.append((key, data, version))
        raise EngineError("no answer")

    ledger._client.replace = lose
    with capturedLogs(), pytest.raises(EngineError):
        ledger.reserve(10, LIMITS)

    def make_delayed_first(key, data, version):
        ledger._client.replace = replace
        assert replace(*delayed[0])
        return replace(key, data, version)

    ledger._client.replace = make_delayed_first if made == "during the next swap" else replace
    if made == "before the next swap":
        assert replace(*delayed[0])
    ledger.reserve(1, LIMITS)
    assert Usage(2, 6) == ledger.current()
    assert not replace(*delayed[0])


def test_listing_ignores_the_record(make, prepared, tmp_path):
    opened(make())
    backend = open_backend(prepared, MD5, str(tmp_path))
    assert [digest_of(HELLO)] == backend.digests(None, 9)


# --- a process that only removes files -----------------------------------------------------------


@pytest.fixture
def removing(prepared, tmp_path):
    """A ledger of a process that only removes files."""
    from filestored.storage.limits.object_usage import UncountedObjectUsage

    return UncountedObjectUsage(prepared, open_backend(prepared, MD5, str(tmp_path)))


def test_removal_without_a_record_makes_none(removing, prepared, requests):
    removing.open()
    removing.add(Usage(-1, -5))
    assert (False, None, 0) == (removing.is_open, prepared.find("usage"), requests.count("list"))


def test_removal_changes_the_record_and_lists_nothing(removing, make, requests):
    ledger = opened(make())
    lists = requests.count("list")
    removing.open()
    removing.add(Usage(-1, -5))
    assert (Usage(0, 0), lists) == (ledger.current(), requests.count("list"))
