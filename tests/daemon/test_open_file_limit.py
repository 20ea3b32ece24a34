"""A process may open as many files as what it serves needs, within what it is allowed."""

import resource

import pytest
from twisted.logger import globalLogPublisher

from filestored.daemon.process_setup import (
    PER_BUCKET,
    PER_IMAGE_UPLOAD,
    PER_UPLOAD,
    raise_open_file_limit,
    required_descriptors,
)


@pytest.fixture
def limits():
    """Set the soft limit for a test; what it was returns. The hard one could not be raised again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda number: resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def events():
    found = []
    globalLogPublisher.addObserver(found.append)
    yield found
    globalLogPublisher.removeObserver(found.append)


def soft_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_low_soft_limit_of_open_files_is_raised(limits):
    limits(600)
    raise_open_file_limit(100, 64)
    assert required_descriptors(100, 64) == soft_limit() > 600
    of_uploads = required_descriptors(100, 64) - required_descriptors(100, 0)
    assert 64 * (PER_UPLOAD + PER_IMAGE_UPLOAD) == of_uploads


def test_sufficient_limit_of_open_files_is_kept(limits):
    enough = required_descriptors(100, 64) + 1
    limits(enough)
    raise_open_file_limit(100, 64)
    assert enough == soft_limit()


def test_low_hard_limit_is_used_and_logged(limits, events):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits(600)
    raise_open_file_limit(hard, 64)
    assert hard == soft_limit()
    assert [hard] == [
        event["hard"] for event in events if event.get("log_namespace") == "filestored.daemon.process_setup"
    ]


@pytest.mark.parametrize(("spare", "buckets"), [(10_000_000, 8), (5 * PER_BUCKET + 1, 5), (0, 1)])
def test_number_of_open_buckets_depends_on_the_limit(monkeypatch, spare, buckets):
    hard = required_descriptors(100, 64) + spare
    changed = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (600, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: changed.append(limits))
    assert buckets == raise_open_file_limit(100, 64, 8)
    assert [(min(hard, required_descriptors(100, 64) + 8 * PER_BUCKET), hard)] == changed
