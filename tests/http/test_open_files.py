"""Open files of cached responses: their users, and when they are closed."""

import pytest
from zope.interface import implementer

from filestored.http.open_files import MAX_OPEN_FILES, OpenFiles
from filestored.interfaces import IRevalidatable


class Blob:
    """An open blob that cannot be validated."""

    closed = 0

    def close(self):
        self.closed += 1


@implementer(IRevalidatable)
class RevalidatableBlob(Blob):
    current = True

    def is_current(self):
        return self.current


@pytest.fixture
def files():
    return OpenFiles()


@pytest.fixture
def blob():
    return RevalidatableBlob()


def test_file_stays_open_until_it_was_not_used_between_two_calls(files, blob):
    file = files.add(blob)
    file.release()
    files.drop_idle()
    assert file.acquire()
    file.release()
    files.drop_idle()
    assert 0 == blob.closed
    files.drop_idle()
    assert 1 == blob.closed
    assert not file.acquire()


@pytest.mark.parametrize("drop", [OpenFiles.drop_all, lambda files: (files.drop_idle(), files.drop_idle())])
def test_dropped_file_is_closed_by_its_last_user(files, blob, drop):
    file = files.add(blob)
    assert file.acquire()
    drop(files)
    assert not file.acquire()
    file.release()
    assert 0 == blob.closed
    file.release()
    assert 1 == blob.closed
    files.drop_all()
    assert 1 == blob.closed


def test_file_that_is_not_current_is_closed_by_its_last_user(files, blob):
    file = files.add(blob)
    blob.current = False
    assert not file.acquire()
    assert 0 == blob.closed
    file.release()
    assert 1 == blob.closed
    files.drop_idle()
    files.drop_idle()
    files.drop_all()
    assert 1 == blob.closed


def test_file_that_is_not_current_and_has_no_user_is_closed_at_once(files, blob):
    file = files.add(blob)
    file.release()
    blob.current = False
    assert not file.acquire()
    assert 1 == blob.closed


def test_blob_that_cannot_be_validated_is_closed_after_its_use(files):
    blob = Blob()
    file = files.add(blob)
    assert not file.acquire()
    file.release()
    assert 1 == blob.closed


def test_only_so_many_files_stay_open():
    files = OpenFiles(3)
    blobs = [RevalidatableBlob() for _ in range(3 + 2)]
    for blob in blobs:
        files.add(blob).release()
    assert 2 == sum(blob.closed for blob in blobs)
    files.drop_all()
    assert [1] * len(blobs) == [blob.closed for blob in blobs]
    files.add(blobs[0]).release()
    assert 1 == blobs[0].closed


def test_file_that_is_not_current_makes_room_for_another():
    files = OpenFiles(1)
    first, second = RevalidatableBlob(), RevalidatableBlob()
    file = files.add(first)
    file.release()
    first.current = False
    assert not file.acquire()
    files.add(second).release()
    assert (1, 0) == (first.closed, second.closed)
    files.drop_all()


@pytest.mark.parametrize(
    ("limit", "kept"), [(100, 12), (8192, MAX_OPEN_FILES), (10**6, MAX_OPEN_FILES), (-1, MAX_OPEN_FILES)]
)
def test_fewer_files_stay_open_where_descriptors_are_few(monkeypatch, limit, kept):
    monkeypatch.setattr("resource.getrlimit", lambda which: (limit, limit))
    files = OpenFiles()
    blobs = [RevalidatableBlob() for _ in range(MAX_OPEN_FILES + 1)]
    for blob in blobs:
        files.add(blob).release()
    assert kept == sum(not blob.closed for blob in blobs)
    files.drop_all()
