"""The door: what twistd asks a plugin for, `Options` and `makeService`.

Both ways in come through here, ``twistd filestored`` and ``twistd -y filestored.tac``. Behind the door is
`assembly`, which brings the reactor along, and is opened only when the options have said what the
reactor will be asked for. From here on SIGUSR1 and SIGHUP no longer end the process.
"""

from twisted.application.service import Service

from filestored.daemon import tls
from filestored.daemon.options import Options
from filestored.daemon.signals import hold_reopen


def makeService(options: Options) -> Service:
    """The service that twistd runs; a setting that cannot work ends the program with one line."""
    hold_reopen()
    if options.alone:
        tls.leave_out(options.settings.listen)
    from filestored.assembly import make_daemon  # after the decision on TLS: it imports the reactor

    return make_daemon(options.settings)
