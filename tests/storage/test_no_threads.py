"""Work for I/O threads on a machine that can start no further thread."""

import threading

import pytest
import pytest_twisted
from twisted.internet import reactor

from filestored.errors import Overloaded
from filestored.storage.thread_pool import ThreadPool, in_threads


@pytest_twisted.ensureDeferred
async def test_job_is_refused_while_no_thread_can_be_started(monkeypatch):
    pool = ThreadPool("test", 1)
    run = in_threads(reactor, pool)
    pool.start()

    def no_threads(self):
        raise RuntimeError("can't start new thread")

    try:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_threads)
            with pytest.raises(Overloaded):
                await run(len, "abc")
        assert 3 == await run(len, "abc")
    finally:
        pool.stop()
