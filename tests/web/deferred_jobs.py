"""Blocking jobs that run when the test says so: a disk of any latency."""

from twisted.internet.defer import Deferred, maybeDeferred


class DeferredJobs:
    """A `Run` for stores: queues jobs, and runs them on demand."""

    def __init__(self):
        self.jobs = []

    def __call__(self, function, /, *args, **kwargs):
        done = Deferred()
        self.jobs.append((done, function, args, kwargs))
        return done

    def work(self):
        """Run the jobs that are queued now."""
        jobs, self.jobs = self.jobs, []
        for done, function, args, kwargs in jobs:
            maybeDeferred(function, *args, **kwargs).chainDeferred(done)

    def finish(self):
        """Run all jobs, also those that they start."""
        while self.jobs:
            self.work()
