"""A reactor with a clock of the test, which spawns no processes but remembers them."""

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure


class Transport:
    """One process, as far as its parent sees it."""

    def __init__(self, pid, protocol):
        self.pid = pid
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
        transport = Transport(100 + len(self.transports), protocol)
        self.transports.append(transport)
        self.args, self.env, self.descriptors = args, env, childFDs
        protocol.makeConnection(transport)
        return transport
