"""A reactor with a clock of the test, which spawns no processes but remembers them."""

import signal

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure


class Transport:
    """One process, as far as its parent sees it."""

    pid = 0x7FFFFFFF  # no process has it

    def __init__(self, protocol):
        self.said = b""
        self.close_control_pipe = self.closed = self.ended = False
        self.signals = []
        self.protocol = protocol

    def write(self, data):
        self.said += data

    def closeStdin(self):
        self.close_control_pipe = True

    def signalProcess(self, number):
        self.signals.append(number)

    def loseConnection(self):
        self.closed = True

    def exit(self, error):
        self.ended = True
        self.protocol.processExited(Failure(error))

    def end(self, error):
        self.exit(error)
        self.protocol.processEnded(Failure(error))


class Reactor(MemoryReactorClock):
    """Spawns nothing, and remembers it."""

    def __init__(self):
        super().__init__()
        self.transports = []
        self.errors = []

    def callWhenRunning(self, function, *args):
        function(*args)

    def spawnProcess(self, protocol, executable, args, env, childFDs):
        if self.errors:
            raise self.errors.pop(0)
        transport = Transport(protocol)
        self.transports.append(transport)
        self.args, self.env, self.descriptors = args, env, childFDs
        self.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        protocol.makeConnection(transport)
        return transport
