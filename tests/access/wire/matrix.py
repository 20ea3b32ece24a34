"""Access matrix: all credentials, addresses of buckets and calls, with the file stored and missing.

A `Matrix` keeps a model of the files of each bucket. Before a request it brings the bucket into the state
that the request needs, with a token that has all rights. After all requests of an address it compares the
listing of each bucket with the model, so a refused request that changed something is found.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import product

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, basic, bearer
from tests.access.wire.model import ABSENT, CALLS, FILE, Call, Credential, Expected, Outcome, Place, expected
from tests.http_clients.raw_socket import form
from tests.http_clients.response import Response

Ask = Callable[[str, str, tuple[str, ...], bytes | None], Response]
"""Sends a request, with header lines and a body, and returns its response."""

DEFAULT = Bucket("default")
NAMED = Bucket("named")
READABLE = Bucket("readable", public=["read"])
WRITABLE = Bucket("writable", public=["write"])
OTHER = Bucket("other")
BUCKETS = [DEFAULT, NAMED, READABLE, WRITABLE, OTHER]

PLACES = [
    Place("", DEFAULT),
    Place("/buckets/default", DEFAULT),
    *(Place(f"/buckets/{bucket.name}", bucket) for bucket in BUCKETS[1:]),
]
UNKNOWN_PLACES = [
    Place(f"/buckets/{name}", None)
    for name in ["unknown", "Named", "named_", "-named", "n" * 64, "%6eamed-", "", "*"]
]
"""Addresses without a bucket; all but the first are no names of buckets."""

ADMIN = Token("admin", {"*": RIGHTS})

_SUBSETS = [tuple(right for place, right in enumerate(RIGHTS) if bits >> place & 1) for bits in range(16)]

TOKENS = [
    *(
        Token(f"subset-{''.join(r[0] for r in rights)}-", {b.name: rights for b in BUCKETS[:4]})
        for rights in _SUBSETS
    ),
    Token("elsewhere", {"other": RIGHTS}),
    Token("star", {"*": ["read", "list"]}),
    Token("star-but", {"*": RIGHTS, "named": [], "default": ["write"]}),
    Token("current", {"*": ["read"]}, expires="2096-01-01"),
]
EXPIRED = Token("expired", {"*": RIGHTS}, expires="2020-01-01")
EXPIRED_MOMENT = Token("expired-moment", {"*": RIGHTS}, expires="2020-01-01T00:00:00+02:00")
STRANGER = Token("stranger", {"*": RIGHTS})
"""A token that is in no access file."""

WRONG = [EXPIRED, EXPIRED_MOMENT, STRANGER]

ACCESS_TEXT = access_text(ADMIN, *TOKENS, EXPIRED, EXPIRED_MOMENT, *BUCKETS)

NO_CREDENTIALS = Credential("none")


def credentials_of(tokens: list[Token], line_of: Callable[[str], str]) -> list[Credential]:
    """Return the credentials of the matrix; `line_of` makes the header line of a secret."""
    return [
        NO_CREDENTIALS,
        *(Credential(token.name, token, line_of(token.secret)) for token in tokens),
        *(Credential(token.name, None, line_of(token.secret)) for token in WRONG),
        Credential("malformed", None, line_of(TOKENS[0].secret[:-1])),
        *(Credential(f"link of {token.name}", token, linked=True) for token in tokens),
    ]


AT_UNKNOWN_PLACES = ("none", "subset-rwdl-", "elsewhere", "star", "stranger", "malformed", "link of star")
"""Names of the credentials that are tried at addresses without a bucket."""

BEARER = credentials_of(TOKENS, bearer)
BASIC = credentials_of(TOKENS, basic)


class Matrix:
    """Sends the requests of the matrix over `ask`, and collects the differences from the model."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.file, self.other = b"the file of the matrix", b"another file"
        self._hash = hashlib.sha256(self.file).hexdigest()
        self._model: dict[str, set[bytes]] = {bucket.name: set() for bucket in BUCKETS}
        self.differences: list[str] = []
        self.count = 0
        self._alike: dict[object, Response] = {}

    def run(self, credentials: list[Credential], places: list[Place]) -> None:
        """Send all combinations; compare the model with the listings after each address."""
        for place in places:
            states = (True, False) if place.bucket else (False,)
            for stored, credential, call in product(states, credentials, CALLS):
                if place.has(call) and (call.target == FILE or not credential.linked):
                    self._prepare(place, stored)
                    self._compare(credential, place, call, stored)
            self._compare_listings()

    def run_everywhere(self, credentials: list[Credential]) -> None:
        """Send the combinations at all addresses; some of the credentials at those without a bucket."""
        self.run(credentials, PLACES)
        self.run([each for each in credentials if each.name in AT_UNKNOWN_PLACES], UNKNOWN_PLACES)

    def ask_as_admin(self, method: str, target: str, body: bytes | None = None) -> Response:
        """Send a request with the token that may do everything."""
        return self._ask(method, target, (bearer(ADMIN.secret),), body)

    def _prepare(self, place: Place, stored: bool) -> None:
        """Store or delete the file; the other one is deleted."""
        if place.bucket is None:
            return
        files = self._model[place.bucket.name]
        wanted = {self.file} if stored else set()
        address = f"/buckets/{place.bucket.name}/files/"
        for content in files - wanted:
            self.ask_as_admin("DELETE", address + hashlib.sha256(content).hexdigest())
        for content in wanted - files:
            self.ask_as_admin("PUT", address + hashlib.sha256(content).hexdigest(), content)
        self._model[place.bucket.name] = wanted

    def _compare(self, credential: Credential, place: Place, call: Call, stored: bool) -> None:
        awaited = expected(credential, place, call, stored)
        target = place.prefix + call.target.format(hash=self._hash)
        if credential.is_link(call) and credential.token is not None:
            target += "?" + credential.token.sign(target)
        lines = call.lines + ((credential.line,) if credential.line else ())
        answer = self._ask(call.method, target, lines, self._body(call))
        self.count += 1
        where = f"{call.name} at {place.prefix or '/'} {'stored' if stored else 'missing'}: {credential.name}"
        self.differences += [f"{where}: {text}" for text in differences(awaited, answer)]
        if awaited.outcome is Outcome.ALLOWED:
            self.differences += [f"{where}: {text}" for text in self._wrong_content(place, call, answer)]
            self._change(place, call, stored)
        else:
            self._compare_refusals(where, credential, call, awaited, answer)

    def _body(self, call: Call) -> bytes | None:
        return {None: None, "file": self.file, "other": self.other, "form": form(self.other)}[call.body]

    def _change(self, place: Place, call: Call, stored: bool) -> None:
        """Change the model as an allowed call does."""
        assert place.bucket is not None
        files = self._model[place.bucket.name]
        if call.changes == "delete":
            files.discard(self.file)
        elif call.changes == "store":
            files.add(self.other if call.body == "form" else self.file)

    def _compare_refusals(
        self, where: str, credential: Credential, call: Call, awaited: Expected, answer: Response
    ) -> None:
        """Compare with another refusal: nothing tells apart buckets, files, methods or tokens."""
        if awaited.outcome is Outcome.FORBIDDEN:
            return  # the text may name the right
        form_of_text = (call.method == "HEAD", "Accept: application/json" in call.lines)
        kind = (awaited.outcome, credential.line is None, form_of_text)
        first = self._alike.setdefault(kind, answer)
        if first.undated != answer.undated:
            self.differences.append(f"{where}: {answer.undated}, but another such refusal is {first.undated}")

    def _wrong_content(self, place: Place, call: Call, answer: Response) -> Iterator[str]:
        """Yield the faults of the body and of the addresses in an allowed response."""
        assert place.bucket is not None
        if (
            answer.status == 200
            and call.method == "GET"
            and call.right == "read"
            and answer.body != self.file
        ):
            yield f"the body is {answer.body!r}"
        if answer.status in (200, 201) and call.right == "write":
            content = self.other if call.body == "form" else self.file
            address = _address(place.bucket) + hashlib.sha256(content).hexdigest()
            if answer.fields.get("location") != address:
                yield f"Location is {answer.fields.get('location')}, not {address}"
        if answer.status == 200 and call.right == "list":
            yield from self._wrong_listing(place.bucket, call, answer)

    def _wrong_listing(self, bucket: Bucket, call: Call, answer: Response) -> Iterator[str]:
        files = self._model[bucket.name]
        if call.target == "/usage":
            usage = {"bucket": bucket.name, "files": len(files), "bytes": sum(map(len, files))}
            awaited: object = {**usage, "quota_bytes": None, "quota_files": None}
            found: object = json.loads(answer.body)
        else:
            awaited = sorted((hashlib.sha256(content).hexdigest(), len(content)) for content in files)
            found = [(each["hash"], each["size"]) for each in listed(call, answer)]
        if awaited != found:
            yield f"{found} is not {awaited}"

    def _compare_listings(self) -> None:
        for bucket in BUCKETS:
            answer = self.ask_as_admin("GET", f"/buckets/{bucket.name}/files/")
            found = {each["hash"] for each in json.loads(answer.body)["files"]}
            awaited = {hashlib.sha256(content).hexdigest() for content in self._model[bucket.name]}
            if found != awaited:
                self.differences.append(f"{bucket.name} stores {found}, not {awaited}")


def _address(bucket: Bucket) -> str:
    """Return the address of files in a bucket, as the server names it."""
    return "/files/" if bucket.name == "default" else f"/buckets/{bucket.name}/files/"


def listed(call: Call, answer: Response) -> list[dict[str, object]]:
    """Return the entries of a listing: a page, or one object a line."""
    if "Accept: application/x-ndjson" in call.lines:
        return [json.loads(line) for line in answer.body.splitlines()]
    page = json.loads(answer.body)
    return list(page["files"])


def differences(awaited: Expected, answer: Response) -> Iterator[str]:
    """Yield the differences of status and header fields."""
    if awaited.status != answer.status:
        yield f"{answer.status} is not {awaited.status}"
        return
    found: dict[str, str] = {}
    for raw_name, raw_value in answer.lines:
        name, value = raw_name.decode().lower(), raw_value.decode()
        found[name] = f"{found[name]}, {value}" if name in found else value
    for name in ("server", "date", "connection", "x-request-id"):
        found.pop(name, None)
    wanted = {name: value for name, value in awaited.fields.items() if value != ABSENT}
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found or name not in wanted or wanted[name] not in (None, found[name]):
            yield f"{name} is {found.get(name, ABSENT)!r}, not {wanted.get(name, ABSENT)!r}"
