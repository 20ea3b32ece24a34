"""Watcher of the access file: one error for each version, and for each reason that it cannot be reached."""

import errno
import os
import threading
from contextlib import contextmanager

import pytest
from twisted.logger import capturedLogs

from filestored.access import watcher
from filestored.access.rules import AccessRules
from filestored.access.watcher import AccessWatcher
from tests.access.wire.access_files import write_access
from tests.daemon_process import until

SECONDS = 0.01
COMPARISONS = 10


class Reactor:
    """Calls functions in the calling thread."""

    def callFromThread(self, function, *args):
        function(*args)


class Watched:
    """An access file, its watcher, and the buckets of the rules that were used."""

    def __init__(self, directory, monkeypatch):
        self.directory = directory
        self.path = str(directory / "access.toml")
        self.used: list[set[str]] = []
        self.comparisons = 0
        compare = AccessWatcher._compare

        def counted(watcher, is_requested):
            compare(watcher, is_requested)
            self.comparisons += 1

        monkeypatch.setattr(watcher, "CHECK_SECONDS", SECONDS)
        monkeypatch.setattr(AccessWatcher, "_compare", counted)
        self.write("[buckets.one]\n")
        self.watcher = AccessWatcher(Reactor(), self.path, lambda rules: self.used.append(buckets_of(rules)))
        assert {"default", "one"} == buckets_of(self.watcher.read())

    def write(self, text):
        write_access(self.path, text)

    def wait(self):
        """Wait for some comparisons."""
        seen = self.comparisons
        until(lambda: self.comparisons >= seen + COMPARISONS, "the file was compared")


def buckets_of(rules):
    return set(AccessRules.from_json(rules).buckets)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "filestored-access"]


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A watcher that runs."""
    directory = tmp_path / "directory"
    directory.mkdir()
    watched = Watched(directory, monkeypatch)
    watched.watcher.start()
    yield watched
    watched.watcher.stop()
    until(lambda: not threads(), "the thread has ended")


@contextmanager
def renamed(directory):
    """Rename a directory for the context."""
    moved = directory.rename(directory.with_name("moved"))
    yield
    moved.rename(directory)


@contextmanager
def replaced_by_a_file(directory):
    """Put a file in the place of a directory for the context."""
    with renamed(directory):
        directory.write_text("")
        yield
        directory.unlink()


@pytest.mark.parametrize("unreachable", [renamed, replaced_by_a_file])
def test_file_that_cannot_be_reached_is_one_error(watched, unreachable):
    with capturedLogs() as logged:
        with unreachable(watched.directory):
            watched.wait()
        watched.wait()
        watched.write("[buckets.two]\n")
        until(lambda: watched.used, "the next version is used")
    assert "error" == logged[0]["log_level"].name
    errors = [event for event in logged if event["log_level"].name == "error"]
    assert len(errors) <= 2  # the second: a file is missing before its directory is something else
    assert [{"default", "two"}] == watched.used


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_version_that_could_not_be_read_is_read_again_and_is_one_error(watched, monkeypatch, number):
    def fail(path):
        raise OSError(number, os.strerror(number))

    with capturedLogs() as logged:
        with monkeypatch.context() as patched:
            patched.setattr(watcher, "read_rules", fail)
            watched.write("[buckets.two]\n")
            watched.wait()
        until(lambda: watched.used, "the version is used")
    assert [{"default", "two"}] == watched.used
    assert 1 == len([event for event in logged if event["log_level"].name == "error"])


def test_link_to_itself_is_one_error(watched):
    with capturedLogs() as logged:
        os.unlink(watched.path)
        os.symlink("access.toml", watched.path)
        watched.wait()
        watched.write("[buckets.two]\n")
        until(lambda: watched.used, "the next version is used")
    errors = [event["reason"] for event in logged if event["log_level"].name == "error"]
    assert 1 == len([each for each in errors if "symbolic links" in each])
