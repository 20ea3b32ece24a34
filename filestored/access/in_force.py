"""Rules in force in one process: those of the access file, and later of a newer version of it.

Responses may be cached that were allowed by the former rules, or by a token that has expired since. So
`changed` is called after a replacement and after each expiry. Expiries are looked for once a second, because
the clock may be set.
"""

from collections.abc import Callable
from time import time
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from filestored.access.rules import AccessRules

CHECK_SECONDS = 1.0
"""Interval of the search for tokens that have expired."""


class RulesInForce:
    """The rules in force; `changed` is called with them. `now` gives seconds since the epoch."""

    def __init__(
        self, reactor: Any, changed: Callable[[AccessRules], None], now: Callable[[], float] = time
    ) -> None:
        self._reactor = reactor
        self._changed = changed
        self._now = now
        self._rules: AccessRules | None = None
        self._checked = now()
        self._next_check: IDelayedCall | None = None

    def use(self, text: str) -> None:
        """Replace the rules by those in `text`, see `AccessRules.to_json`."""
        self._rules = rules = AccessRules.from_json(text)
        self._changed(rules)
        if self._next_check is None:
            self._next_check = self._reactor.callLater(CHECK_SECONDS, self._check)

    def stop(self) -> None:
        """End the search for expired tokens."""
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None

    def _check(self) -> None:
        self._next_check = self._reactor.callLater(CHECK_SECONDS, self._check)
        assert self._rules is not None, "it is called after `use`"
        now, since = self._now(), min(self._checked, self._now())
        self._checked = now
        expiry = self._rules.next_expiry(since)
        if expiry is not None and expiry <= now:
            self._changed(self._rules)
