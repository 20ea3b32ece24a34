"""Entry point of twistd: `Options` and `makeService`, for the plugin and for ``filestored.tac``.

`assembly` imports the reactor, so it is imported after the options have decided whether TLS is needed.
SIGUSR1 and SIGHUP no longer end the process from `makeService` on.
"""

from twisted.application.service import Service

from filestored.daemon.options import Options
from filestored.daemon.process_setup import forbid_core_files, hold_reopen, skip_unused_tls
from filestored.daemon.startup import daemonize


def makeService(options: Options) -> Service:
    """Return the service that twistd runs. A setting that cannot work ends the process with one line."""
    hold_reopen()
    forbid_core_files()
    daemonize.install()
    if options.owns_process:
        skip_unused_tls(filter(None, [*options.settings.listen, options.settings.metrics]))
    from filestored.assembly import make_daemon  # after the decision on TLS: it imports the reactor

    daemon = make_daemon(options.settings, options.pid_file)
    options.replace_pid_file()
    return daemon
