"""Guard: the access control of all files, before any resource looks at the store or at the body.

In: a request, a bucket and the path within it. Out: nothing, or an `HTTPError`. `required_right` tells what a
request needs, `access.decide` whether its credentials have it.

Without an access file there is only the default bucket, and all clients have the same rights.
"""

from collections.abc import Callable, Collection, Sequence
from math import inf
from time import time

from filestored.access.decisions import Credentials, Outcome, decide, is_refused
from filestored.access.rules import DEFAULT_BUCKET, AccessRules, Right
from filestored.bounded_cache import BoundedCache
from filestored.interfaces import CacheScope, IStreamedRequest
from filestored.metrics.refusals import Refusal
from filestored.web.credentials import NO_CREDENTIALS, credentials_of
from filestored.web.errors import Field, HTTPError
from filestored.web.resource import no_such_address

CHALLENGES: Field = (
    b"WWW-Authenticate",
    b'Bearer realm="filestored", Basic realm="filestored", charset="UTF-8"',
)
"""Both ways to send a token (RFC 9110 section 11.6.1).

One field that begins with Bearer: Chromium does not ask for a password of its own then, over the page.
"""

MAX_CACHED_DECISIONS = 1024
"""Decisions that allow a token something; they are kept until the token expires or the rules change."""

_RIGHTS_AT_ROOT = {
    b"GET": Right.READ,
    b"HEAD": Right.READ,
    b"POST": Right.WRITE,
    b"DELETE": Right.DELETE,
}
_RIGHTS_OF_FILES = {
    b"GET": Right.READ,
    b"HEAD": Right.READ,
    b"PUT": Right.WRITE,
    b"DELETE": Right.DELETE,
}
_RIGHTS_OF_LISTS = {b"GET": Right.LIST, b"HEAD": Right.LIST}


def required_right(method: bytes, path: Sequence[bytes]) -> Right | None:
    """Return the right that a request needs for `path` in a bucket; None: any right in the bucket."""
    match path:
        case [b""]:
            return _RIGHTS_AT_ROOT.get(method)
        case [b"files", b""] | [b"usage"]:
            return _RIGHTS_OF_LISTS.get(method)
        case [b"files", _]:
            return _RIGHTS_OF_FILES.get(method)
    return None


_Allowed = tuple[bytes | None, str, Right | None]
"""Something that a token was allowed: the value of `Authorization`, the bucket and the right."""


class Guard:
    """The access control of one site. `lists` gives all clients the right to list, without an access file.

    `rules` are those in force; None without an access file. `now` gives seconds since the epoch.
    """

    rules: AccessRules | None = None

    def __init__(self, *, lists: bool = False, now: Callable[[], float] = time) -> None:
        self._open_rights = frozenset(Right) if lists else frozenset(Right) - {Right.LIST}
        self._now = now
        self._allowed_until: BoundedCache[_Allowed, float] = BoundedCache(MAX_CACHED_DECISIONS)
        self._allowed_by: AccessRules | None = None

    def check(self, request: IStreamedRequest, bucket: str, path: Sequence[bytes]) -> None:
        """Raise `HTTPError` (401, 403, 404) unless the request is allowed; set its `cache_scope`."""
        rules, now = self.rules, self._now()
        if rules is None:
            self._check_open(request, bucket, path)
            return
        if rules is not self._allowed_by:
            self._allowed_by = rules
            self._allowed_until.clear()
        right = required_right(request.method, path)
        allowed = request.header(b"authorization"), bucket, right
        if now < self._allowed_until.get(allowed, 0.0) and b"?" not in request.uri:
            request.cache_scope = CacheScope.PRIVATE
            return
        credentials = credentials_of(request, path)
        decision = decide(rules, credentials, bucket, right, now)
        if decision.outcome is not Outcome.ALLOWED:
            raise _refusal(decision.outcome, credentials)
        if decision.private:
            request.cache_scope = CacheScope.LINK if credentials.link else CacheScope.PRIVATE
        if credentials.secret is not None and credentials.link is None:
            token = rules.find_secret(credentials.secret)
            self._allowed_until.add(allowed, inf if token is None or token.expires is None else token.expires)

    def cors(self, bucket: str) -> Collection[str]:
        """Return the origins whose web pages may use the bucket."""
        rules = self.rules.buckets.get(bucket) if self.rules is not None else None
        return () if rules is None else rules.cors

    def visible(self, request: IStreamedRequest) -> dict[str, frozenset[Right]]:
        """Map the buckets in which the request has any right to these rights. Raises `HTTPError` (401)."""
        if self.rules is None:
            return {DEFAULT_BUCKET: self._open_rights}
        credentials = credentials_of(request, ())
        token = None if credentials.secret is None else self.rules.find_secret(credentials.secret)
        if is_refused(credentials, token, self._now()):
            raise _refusal(Outcome.CREDENTIALS_NEEDED, credentials)
        found = {name: self.rules.rights(token, name) for name in self.rules.buckets}
        return {name: rights for name, rights in found.items() if rights}

    def _check_open(self, request: IStreamedRequest, bucket: str, path: Sequence[bytes]) -> None:
        if bucket != DEFAULT_BUCKET:
            raise _refusal(Outcome.UNKNOWN_BUCKET)
        if path in ([b"files", b""], [b"usage"]) and Right.LIST not in self._open_rights:
            raise no_such_address(request)


def _refusal(outcome: Outcome, credentials: Credentials = NO_CREDENTIALS) -> HTTPError:
    if outcome is Outcome.CREDENTIALS_NEEDED:
        text = "A token is needed, and this request has none that is valid."
        is_refused_token = credentials.malformed or credentials.secret is not None
        refusal = Refusal.TOKEN if is_refused_token else None
        return HTTPError(401, text, CHALLENGES, refusal=refusal)
    if outcome is Outcome.BAD_LINK:
        return HTTPError(403, "This link is not valid, or not any more.", refusal=Refusal.LINK)
    if outcome is Outcome.FORBIDDEN:
        return HTTPError(403, "This token does not have the right to do this.")
    return HTTPError(404, "There is no such bucket here, or it is not for you.")
