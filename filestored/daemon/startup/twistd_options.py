"""Options of twistd itself: found, and checked before twistd uses them.

A wrong value would end twistd with a traceback, after it has daemonised.
"""

import os
import pwd
from traceback import walk_stack
from typing import Any

from twisted.application import app

from filestored.daemon.startup import pid_file

_UNSUPPORTED = {
    "logfile": "use the option --log after the word filestored",
    "syslog": "use the option --log after the word filestored, or let systemd take its stderr",
    "chroot": "use RootDirectory= of systemd, or a container",
}


def find(options: Any) -> Any:
    """Return the options of the twistd that parses `options` or loads a .tac file; None without twistd."""
    parent = getattr(options, "parent", None)
    if parent is not None:
        return parent
    for frame, _ in walk_stack(None):  # twistd passes its options to no .tac file
        if frame.f_code is app.getApplication.__code__:
            return frame.f_locals["config"]
    return None


def check(config: Any) -> str:
    """Check the options of twistd; return the pid file, see `pid_file.choose`. Raises `ValueError`."""
    for name, instead in _UNSUPPORTED.items():
        if config.get(name):
            raise ValueError(f"twistd's --{name} does not work with filestored: {instead}")
    if not os.path.isdir(config["rundir"]):
        raise ValueError(f"twistd's --rundir: there is no directory {config['rundir']}; create it")
    _check_user(config["uid"], config["gid"])
    path = pid_file.choose(config)
    if path:
        pid_file.check(path)
    return path


def _check_user(uid: int | None, gid: int | None) -> None:
    if uid is None and gid is None:
        return
    if os.geteuid() != 0 and (uid, gid) != (os.geteuid(), os.getegid()):
        raise ValueError("twistd's --uid and --gid need root: start as that user instead, as with setpriv")
    if uid is not None:
        try:
            pwd.getpwuid(uid)
        except KeyError:
            raise ValueError(
                f"twistd's --uid: no user has the id {uid}; create one, or start as that id, as with setpriv"
            ) from None
