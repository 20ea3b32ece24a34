"""A fake `IFileSource`: a file that is read directly, or in a thread while its disk is slow."""

import os

from twisted.internet.defer import Deferred
from zope.interface import implementer

from filestored.interfaces import IFileSource

MAX_READ_BYTES = 100_000


@implementer(IFileSource)
class FileSource:
    """An open descriptor. While it is `slow`, reads wait in `reads` for `do_reads`, unless `at_once`."""

    def __init__(self, descriptor, slow=False, at_once=True):
        self._descriptor = descriptor
        self.slow = slow
        self.at_once = at_once
        self.seconds = []
        self.reads = []

    def fileno(self):
        return self._descriptor

    def record_latency(self, seconds):
        self.seconds.append(seconds)

    async def read(self, start, stop):
        if not self.at_once:
            waiting = Deferred()
            self.reads.append(waiting)
            await waiting
        return os.pread(self._descriptor, min(MAX_READ_BYTES, stop - start), start)

    def do_reads(self):
        reads, self.reads = self.reads, []
        for waiting in reads:
            waiting.callback(None)
