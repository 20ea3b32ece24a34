"""The sweep over all connections: one that fails keeps no other from its deadlines."""

from twisted.internet.task import Clock
from twisted.web.resource import Resource

from filestored.http.factory import TIMEOUT_POLL_SECONDS, HTTPFactory


class Connection:
    """A connection as the factory sees it: counts its ticks, or fails in each."""

    def __init__(self, *, fails=False, fails_to_abort=False):
        self.ticks = 0
        self.aborted = False
        self._fails, self._fails_to_abort = fails, fails_to_abort

    def check_timeouts(self, now):
        self.ticks += 1
        if self._fails:
            raise ValueError("a fault in a tick")

    def abort(self):
        self.aborted = True
        if self._fails_to_abort:
            raise ValueError("a fault in an abort")


def test_a_failing_connection_ends_and_the_others_are_swept(caught_failures):
    clock = Clock()
    factory = HTTPFactory(Resource(), clock)
    good = [Connection() for _ in range(20)]
    bad = [Connection(fails=True), Connection(fails=True, fails_to_abort=True)]
    for connection in (*good[:10], *bad, *good[10:]):
        factory.opened(connection)
    clock.pump([TIMEOUT_POLL_SECONDS] * 3)
    assert [3] * 20 == [connection.ticks for connection in good]
    assert [True, True] == [connection.aborted for connection in bad]
    assert {ValueError} == set(caught_failures())
    for connection in (*good, *bad):
        factory.closed(connection)
    assert [] == clock.getDelayedCalls()
