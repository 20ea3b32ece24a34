"""Group commit: who is in which batch, in which order, and who fails with whom."""

import errno

import pytest
from zope.interface import implementer

from filestored.errors import WritesSuspended
from filestored.interfaces import IBatchFlush, UploadResult
from filestored.storage.health import FlushFailed
from filestored.storage.memory import MemoryBackend, MemorySink
from filestored.storage.store import Store
from tests.storage.contract import MD5, Workbench, digest_of, outcome, send


class Diary(MemoryBackend):
    """A backend that writes down what is asked of it, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__(MD5)
        self.log: list[str] = []
        self.fail: set[str] = set()

    def note(self, event: str) -> None:
        self.log.append(event)
        if event in self.fail:
            raise OSError(errno.EIO, "Input/output error")

    def begin(self):
        return DiarySink(self)

    def flush_names(self, digests):
        self.note(f"settle {len(list(digests))}")


@implementer(IBatchFlush)
class BatchFlushDiary(Diary):
    """A backend with one flush for everything."""

    def is_worthwhile(self, files, digests):
        return files + len(digests) > 0

    def flush_all(self):
        self.note("flush")


class DiarySink(MemorySink):
    """A sink of a `Diary`."""

    def __init__(self, backend: Diary) -> None:
        super().__init__(backend)
        self._diary = backend

    def seal(self, flush=True):
        self._diary.note(f"{'seal' if flush else 'close'} {bytes(self._data[:1]).decode()}")

    def publish(self, digest):
        self._diary.note(f"publish {bytes(self._data[:1]).decode()}")
        return super().publish(digest)


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def batching():
    return BatchFlushDiary()


@pytest.fixture
def bench():
    return Workbench()


@pytest.fixture
def store(diary, bench):
    return Store(diary, MD5, bench)


def test_lone_upload_is_committed_at_once(store, bench):
    answer = send(store, b"a")
    bench.do_one()
    assert UploadResult(digest_of(b"a"), 1, True) == outcome(answer)
    assert not bench.jobs


def test_uploads_queued_during_a_batch_are_the_next_batch(store, diary, bench):
    answers = [send(store, data) for data in (b"a", b"b", b"c", b"d")]
    assert 1 == len(bench.jobs)
    bench.do_one()
    bench.do_one()
    assert not bench.jobs
    assert [1, 1, 1, 1] == [outcome(answer).size for answer in answers]
    assert ["settle 1", "settle 3"] == [event for event in diary.log if event.startswith("settle")]


def test_uploads_of_one_iteration_of_the_reactor_are_one_batch(diary, bench):
    soon = []
    store = Store(diary, MD5, bench, call_soon=soon.append)
    answers = [send(store, data) for data in (b"a", b"b")]
    assert (1, 0) == (len(soon), len(bench.jobs))
    soon.pop()()
    answers.append(send(store, b"c"))
    assert (0, 1) == (len(soon), len(bench.jobs))
    bench.do_all()
    assert ["seal a", "seal b", "publish a", "publish b", "seal c", "settle 2"] == diary.log[:6]
    assert [1, 1, 1] == [outcome(answer).size for answer in answers]


def test_batch_after_an_idle_time_starts_after_the_iteration_of_its_first_upload(diary, bench):
    soon = []
    store = Store(diary, MD5, bench, call_soon=soon.append)
    for data in (b"a", b"b"):
        answer = send(store, data)
        soon.pop()()
        bench.do_one()
        assert outcome(answer).created
    assert ["settle 1", "settle 1"] == [event for event in diary.log if event.startswith("settle")]


def test_one_flush_covers_contents_of_a_batch_and_names_of_the_previous_one(store, diary, bench):
    send(store, b"x")
    answers = [send(store, data) for data in (b"a", b"b")]
    bench.do_all()
    assert [
        ["seal x", "publish x"],
        ["seal a", "seal b", "settle 1", "publish a", "publish b", "settle 2"],
    ] == [diary.log[:2], diary.log[2:]]
    assert [True, True] == [outcome(answer).created for answer in answers]


def test_batch_flush_precedes_and_follows_publishing(batching, bench):
    store = Store(batching, MD5, bench)
    send(store, b"x")
    answers = [send(store, data) for data in (b"a", b"b")]
    bench.do_all()
    assert [
        ["close x", "flush", "publish x"],
        ["close a", "close b", "flush", "publish a", "publish b", "flush"],
    ] == [batching.log[:3], batching.log[3:]]
    assert [True, True] == [outcome(answer).created for answer in answers]


def test_published_upload_is_done_after_the_flush_of_the_next_batch(batching, bench):
    store = Store(batching, MD5, bench)
    for data in (b"x", b"a"):
        send(store, data).addCallback(lambda stored, data=data: batching.note(f"answer {data.decode()}"))
    bench.do_one()
    assert ["close x", "flush", "publish x"] == batching.log
    send(store, b"b")
    bench.do_one()
    assert ["close a", "flush", "publish a", "answer x"] == batching.log[3:]


def test_no_upload_is_done_before_the_flush(store, diary, bench):
    answer = send(store, b"a")
    answer.addCallback(lambda stored: diary.note("answer"))
    bench.do_one()
    assert ["settle 1", "answer"] == diary.log[-2:]


def test_a_delete_shares_the_flush_of_uploads(store, diary, bench):
    outcome_of_first = send(store, b"z")
    bench.do_all()
    assert outcome(outcome_of_first).created
    deletion = store.delete(digest_of(b"z"))
    answers = [send(store, data) for data in (b"a", b"b")]
    assert 2 == len(bench.jobs)
    bench.do_one()
    bench.do_one()
    bench.do_one()
    assert ["settle 2", "settle 1"] == [event for event in diary.log if event.startswith("settle")][-2:]
    assert (True, True, True) == (outcome(deletion), *(outcome(answer).created for answer in answers))


def test_a_delete_of_nothing_needs_no_flush(store, diary, bench):
    deletion = store.delete(digest_of(b"z"))
    bench.do_all()
    assert (False, []) == (outcome(deletion), diary.log)


def test_large_upload_joins_a_batch_for_its_name_only(store, diary, bench):
    large, small = send(store, b"L" * 100_000), send(store, b"s")
    bench.do_all()
    assert ["seal L", "publish L", "seal s", "publish s", "settle 2"] == diary.log
    assert (100_000, 1) == (outcome(large).size, outcome(small).size)


@pytest.mark.parametrize("step", ["seal b", "publish b"])
def test_failing_upload_does_not_affect_others(store, diary, bench, step):
    diary.fail.add(step)
    send(store, b"x")
    answers = [send(store, data) for data in (b"a", b"b", b"c")]
    bench.do_all()
    first, second, third = map(outcome, answers)
    assert (True, errno.EIO, True) == (first.created, second.errno, third.created)
    assert [digest_of(b"a"), digest_of(b"c"), digest_of(b"x")] == sorted(
        diary.digests(None, 9), key=[digest_of(b"a"), digest_of(b"c"), digest_of(b"x")].index
    )
    assert store.degraded


@pytest.mark.parametrize(("kind", "flush"), [(Diary, "settle 1"), (BatchFlushDiary, "flush")])
def test_failed_flush_fails_its_batch_and_all_queued_uploads(bench, kind, flush):
    diary = kind()
    store = Store(diary, MD5, bench)
    turn = [send(store, data) for data in (b"x", b"a", b"b")]
    bench.do_one()
    diary.fail.add(flush)
    behind = [send(store, b"c"), store.delete(digest_of(b"x"))]
    bench.do_all()
    assert [FlushFailed] * 3 == [type(outcome(answer)) for answer in turn]
    assert [WritesSuspended] * 2 == [type(outcome(answer)) for answer in behind]
    assert 0 == store.uploads_in_flight


def test_failed_flush_of_names_fails_the_batch(store, diary, bench):
    turn = [send(store, data) for data in (b"x", b"a", b"b")]
    bench.do_one()
    diary.fail.add("settle 2")
    bench.do_all()
    assert [FlushFailed] * 3 == [type(outcome(answer)) for answer in turn]


def test_uploads_of_a_failed_flush_are_not_published(batching, bench):
    store = Store(batching, MD5, bench)
    batching.fail.add("flush")
    answer = send(store, b"a")
    bench.do_all()
    assert (FlushFailed, []) == (type(outcome(answer)), batching.digests(None, 9))


def test_existing_content_is_not_acknowledged_after_a_failed_flush(store, diary, bench):
    diary.fail.add("settle 1")
    answers = [send(store, b"a") for _ in range(2)]
    bench.do_one()
    answers.append(send(store, b"a"))
    bench.do_all()
    assert [FlushFailed, FlushFailed, WritesSuspended] == [type(outcome(answer)) for answer in answers]
