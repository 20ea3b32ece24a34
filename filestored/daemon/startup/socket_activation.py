"""Socket activation (sd_listen_fds(3)): sockets without names get the one that systemd uses for such.

Twisted accepts no sockets unless all of them have names. Names are optional: `LISTEN_FDNAMES` is set by
newer systemd only, and seldom by other programs.
"""

from collections.abc import MutableMapping

UNNAMED = "unknown"
"""The name of a socket without one, as in sd_listen_fds_with_names(3)."""

MAX_SOCKETS = 1000
"""Maximum number of sockets that get a name."""


def name_sockets(environment: MutableMapping[str, str]) -> None:
    """Set `LISTEN_FDNAMES` unless there is a name for each socket. Idempotent."""
    count = environment.get("LISTEN_FDS", "")
    if not count.isdecimal() or not 0 < int(count) <= MAX_SOCKETS:
        return
    names = environment.get("LISTEN_FDNAMES", "")
    found = names.split(":") if names else []
    if len(found) != int(count):
        missing = [UNNAMED] * (int(count) - len(found))
        environment["LISTEN_FDNAMES"] = ":".join([*found, *missing][: int(count)])
