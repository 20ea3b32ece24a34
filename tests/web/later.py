"""Blocking work that is done when the test says so: a disk as slow as it likes."""

from twisted.internet.defer import Deferred, maybeDeferred


class Later:
    """What a store takes for its I/O threads."""

    def __init__(self):
        self.jobs = []

    def __call__(self, function, /, *args, **kwargs):
        done = Deferred()
        self.jobs.append((done, function, args, kwargs))
        return done

    def work(self):
        """Do the jobs that wait now."""
        jobs, self.jobs = self.jobs, []
        for done, function, args, kwargs in jobs:
            maybeDeferred(function, *args, **kwargs).chainDeferred(done)

    def finish(self):
        """Do all jobs, and those that follow from them."""
        while self.jobs:
            self.work()
