"""Expected responses, from the sentences of the contract alone. Imports nothing of filestored.

`outcome` is the decision about one request. `Expected` is the status and the header fields of its response.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from tests.access.wire.access_files import Bucket, Token


class Outcome(Enum):
    """Decisions about a request."""

    ALLOWED = "allowed"
    CREDENTIALS_NEEDED = "credentials needed"
    FORBIDDEN = "forbidden"
    UNKNOWN_BUCKET = "unknown bucket"


@dataclass(frozen=True)
class Credential:
    """Credentials of a request.

    `token` is the token whose secret is sent; `line` is the header line, None for none. A `line` without a
    token is wrong: malformed, unknown or expired. With `linked` no line is sent, and a download of
    ``…/files/H`` is a link, signed by `token`.
    """

    name: str
    token: Token | None = None
    line: str | None = None
    linked: bool = False

    def is_link(self, call: "Call") -> bool:
        """Return whether this call is a link."""
        return self.linked and call.method in ("GET", "HEAD") and call.target == "/files/{hash}"


@dataclass(frozen=True)
class Call:
    """A request in a bucket, and its responses if it is allowed.

    `right` is the right that it needs; None: any right in the bucket, which makes the bucket visible.
    `stored` and `missing` are the statuses while the file is stored, and while it is not. `body` names the
    content that is sent: the file, another one, or a form with another one. `changes` is the effect.
    """

    method: str
    target: str
    right: str | None
    stored: int
    missing: int
    lines: tuple[str, ...] = ()
    body: str | None = None
    changes: str | None = None

    @property
    def name(self) -> str:
        """A name for failures."""
        return " ".join([self.method, self.target, *self.lines, self.body or ""]).strip()


FILE = "/files/{hash}"
UPLOAD_FORM = "Content-Type: multipart/form-data; boundary=frontier"

CALLS = [
    Call("GET", FILE, "read", 200, 404),
    Call("HEAD", FILE, "read", 200, 404),
    Call("GET", "/?file_hash={hash}", "read", 200, 404),
    Call("HEAD", "/?hash={hash}", "read", 200, 404),
    Call("GET", FILE, "read", 206, 404, ("Range: bytes=0-1",)),
    Call("GET", FILE, "read", 304, 404, ("If-None-Match: *",)),
    Call("GET", FILE, "read", 412, 404, ('If-Match: "x"',)),
    Call("GET", FILE, "read", 200, 404, ("Accept: application/json",)),
    Call("GET", "/files/zz", "read", 400, 400),
    Call("GET", "/?file_hash=zz", "read", 400, 400),
    Call("DELETE", FILE, "delete", 412, 404, ('If-Match: "x"',)),
    Call("DELETE", FILE, "delete", 200, 404, changes="delete"),
    Call("DELETE", "/?file_hash={hash}", "delete", 200, 404, changes="delete"),
    Call("DELETE", "/files/zz", "delete", 400, 400),
    Call("PUT", FILE, "write", 200, 201, body="file", changes="store"),
    Call("PUT", FILE, "write", 422, 422, body="other"),
    Call("POST", "/", "write", 200, 200, body="file", changes="store"),
    Call("POST", "/", "write", 200, 200, (UPLOAD_FORM,), body="form", changes="store"),
    Call("POST", "/", "write", 400, 400),
    Call("GET", "/files/", "list", 200, 200),
    Call("GET", "/files/", "list", 200, 200, ("Accept: application/x-ndjson",)),
    Call("GET", "/files/?limit=1", "list", 200, 200),
    Call("GET", "/usage", "list", 200, 200),
    Call("OPTIONS", "/", None, 405, 405),
    Call("OPTIONS", FILE, None, 405, 405),
    Call("BREW", "/", None, 405, 405),
    Call("BREW", FILE, None, 405, 405),
    Call("PUT", "/", None, 405, 405, body="file"),
    Call("POST", FILE, None, 405, 405, body="file"),
    Call("GET", "/nothing", None, 404, 404),
    Call("GET", "/buckets/other/files/{hash}", None, 404, 404),
]


@dataclass(frozen=True)
class Place:
    """A bucket as a request addresses it; `bucket` is None if there is no such bucket."""

    prefix: str
    bucket: Bucket | None

    def has(self, call: Call) -> bool:
        """Return whether the call is one in a bucket at this address: ``/`` serves other paths, too."""
        return bool(self.prefix) or call.target not in NOT_AT_ROOT


NOT_AT_ROOT = ("/usage", "/nothing", "/buckets/other/files/{hash}")


@dataclass(frozen=True)
class Expected:
    """Status and fields of a response; values of the fields are not always known: None."""

    status: int
    fields: Mapping[str, str | None]
    outcome: Outcome


def outcome(credential: Credential, place: Place, call: Call) -> Outcome:
    """Return the decision about a request."""
    token = credential.token
    if credential.line is not None and token is None:
        return Outcome.CREDENTIALS_NEEDED  # wrong credentials, also where the public may
    if credential.is_link(call):
        return Outcome.ALLOWED if "read" in rights_in(place, token) else Outcome.FORBIDDEN
    if credential.linked:
        token = None
    rights = rights_in(place, token)
    if rights if call.right is None else call.right in rights:
        return Outcome.ALLOWED
    if token is None:
        return Outcome.CREDENTIALS_NEEDED
    return Outcome.FORBIDDEN if rights else Outcome.UNKNOWN_BUCKET


def rights_in(place: Place, token: Token | None) -> frozenset[str]:
    """Return the rights of a token in a bucket, those of the public included."""
    if place.bucket is None:
        return frozenset()
    own = frozenset() if token is None else token.rights(place.bucket.name)
    return own | frozenset(place.bucket.public)


REFUSALS = {Outcome.CREDENTIALS_NEEDED: 401, Outcome.FORBIDDEN: 403, Outcome.UNKNOWN_BUCKET: 404}

SMALL: dict[str, str | None] = {
    "content-type": "text/plain; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-length": None,
}
FILE_FIELDS: dict[str, str | None] = {
    "etag": None,
    "content-type": "application/octet-stream",
    "accept-ranges": "bytes",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "content-length": None,
}
UPLOAD_FIELDS: dict[str, str | None] = {"location": None, "etag": None, "repr-digest": None}
CHALLENGES = 'Bearer realm="filestored", Basic realm="filestored", charset="UTF-8"'
"""Both challenges, in one field or in two."""

ALLOW = {"/": "DELETE, GET, HEAD, POST", FILE: "DELETE, GET, HEAD, PUT"}


def expected(credential: Credential, place: Place, call: Call, stored: bool) -> Expected:
    """Return the response to a request, `stored` being whether the file is stored in this bucket."""
    decision = outcome(credential, place, call)
    if decision is Outcome.ALLOWED:
        status = call.stored if stored else call.missing
        fields = _fields(status, call) | _caching(status, credential, call)
    else:
        status = REFUSALS[decision]
        fields = dict(SMALL)
        if decision is Outcome.CREDENTIALS_NEEDED:
            fields["www-authenticate"] = CHALLENGES
    if status >= 400 and "Accept: application/json" in call.lines:
        fields["content-type"] = "application/problem+json"
    return Expected(status, fields, decision)


def _fields(status: int, call: Call) -> dict[str, str | None]:
    """Return the fields of an allowed response, as those without access rules have them."""
    if call.target in ("/files/", "/files/?limit=1", "/usage"):
        return _listing_fields(call)
    if status == 405:
        return SMALL | {"allow": ALLOW[call.target]}
    if status in (200, 206) and call.right == "read":
        return FILE_FIELDS | ({"content-range": None} if status == 206 else {})
    if status == 304:
        return {"etag": None, "content-length": None}
    if status in (200, 201) and call.right == "write":
        return SMALL | UPLOAD_FIELDS
    return dict(SMALL)


def _listing_fields(call: Call) -> dict[str, str | None]:
    if "Accept: application/x-ndjson" in call.lines:
        streamed: dict[str, str | None] = {"transfer-encoding": "chunked", "content-length": ABSENT}
        return SMALL | streamed | {"content-type": "application/x-ndjson", "vary": "Accept, Origin"}
    negotiated: dict[str, str | None] = {} if call.target == "/usage" else {"vary": "Accept, Origin"}
    return SMALL | negotiated | {"content-type": "application/json"}


ABSENT = "(absent)"
"""The value of a field that a response does not have."""


def _caching(status: int, credential: Credential, call: Call) -> dict[str, str | None]:
    """Return the caches that may store a download: no shared ones if credentials were sent."""
    if call.right != "read" or status not in (200, 206, 304):
        return {}
    if credential.is_link(call):
        return {"cache-control": "private, no-cache"}
    scope = "public" if credential.line is None else "private"
    return {"cache-control": f"{scope}, max-age=31536000, immutable"}
