"""How many files and sockets this process may have open, fitted to what it was told to serve.

The soft limit that a shell or an init hands on is often 1,024, for the sake of programs that use
``select``, which we do not: so each process raises its own as far as it needs, and no further than the
hard limit, see getrlimit(2). Where that is too low the operator hears it once; connections
beyond then wait in the socket's queue, nothing breaks.
"""

import resource

from twisted.logger import Logger

A_CONNECTION = 2
"""Descriptors of a connection: its socket, and the file that it is sent."""

AN_UPLOAD = 1
"""Descriptors of an upload besides those of its connection."""

OUR_OWN = 768
"""Descriptors of everything else: the directories of two stores, logs, pipes, libraries."""

_log = Logger()


def make_room(connections: int, uploads: int) -> None:
    """Let this process open what so many connections and uploads at once need, as far as we may."""
    wanted = needed(connections, uploads)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        _log.warn(
            "the limit of open files is {hard}; {connections} connections may need {wanted}",
            hard=hard,
            connections=connections,
            wanted=wanted,
        )
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def needed(connections: int, uploads: int) -> int:
    """Descriptors for so many connections and uploads at once, all of them busy."""
    return A_CONNECTION * connections + AN_UPLOAD * uploads + OUR_OWN
