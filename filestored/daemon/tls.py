"""TLS stays ashore where no endpoint speaks it.

Twisted's reactor loads pyOpenSSL wherever that is installed, and the library behind it: a quarter of the
memory of a process that encrypts nothing. `leave_out` lets it find what it finds without the extra
``tls``, a case that Twisted is made for.

It is for processes that serve us and nobody else, and comes before the first import of the reactor: what was
left out then is not there later.
"""

import sys
from collections.abc import Iterable

PLAIN = frozenset({"tcp", "tcp6", "unix", "systemd"})
"""The kinds of endpoints that are known to do without; of any other nobody here can tell."""


def leave_out(endpoints: Iterable[str]) -> None:
    """Keep TLS from being loaded, unless one of these endpoint strings may need it, or it is here already."""
    if not needed(endpoints):
        # None is how the import system is told that a module cannot be imported, see `sys.modules`.
        sys.modules.setdefault("OpenSSL", None)  # type: ignore[arg-type]  # typeshed knows modules only


def needed(endpoints: Iterable[str]) -> bool:
    """Whether one of these endpoint strings may need TLS."""
    return any(text.partition(":")[0] not in PLAIN for text in endpoints)
