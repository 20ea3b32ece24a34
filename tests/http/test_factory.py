"""Polls of the timeouts: a connection whose check fails does not stop the others."""

from twisted.internet.task import Clock
from twisted.web.resource import Resource

from filestored.http.factory import TIMEOUT_POLL_SECONDS, HTTPFactory


class Connection:
    """A connection that counts its timeout checks, or fails in each."""

    def __init__(self, *, fails=False, fails_to_abort=False):
        self.checks = 0
        self.aborted = False
        self._fails, self._fails_to_abort = fails, fails_to_abort

    def check_timeouts(self, now):
        self.checks += 1
        if self._fails:
            raise ValueError("a fault in a check")

    def abort(self):
        self.aborted = True
        if self._fails_to_abort:
            raise ValueError("a fault in an abort")


def test_failing_timeout_check_aborts_only_its_connection(caught_failures):
    clock = Clock()
    factory = HTTPFactory(Resource(), clock)
    good = [Connection() for _ in range(20)]
    bad = [Connection(fails=True), Connection(fails=True, fails_to_abort=True)]
    for connection in (*good[:10], *bad, *good[10:]):
        factory.opened(connection)
    clock.pump([TIMEOUT_POLL_SECONDS] * 3)
    assert [3] * 20 == [connection.checks for connection in good]
    assert [True, True] == [connection.aborted for connection in bad]
    assert {ValueError} == set(caught_failures())
    for connection in (*good, *bad):
        factory.closed(connection)
    assert [] == clock.getDelayedCalls()
