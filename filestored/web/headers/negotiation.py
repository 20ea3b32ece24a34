"""Text, JSON or HTML, packed or not: what `Accept` and `Accept-Encoding` ask for (RFC 9110 section 12.5).

In: the field's value. Out: whether JSON is wanted, or HTML. Text is the default: it wins when
nothing is said and when both are wanted alike, so browsers and plain curl get text and
whoever names ``application/json`` gets that. HTML has to be named too: ``*/*``, which every tool
sends, does not ask for a page.
"""

import re
from dataclasses import dataclass


def wants_json(accept: bytes | None) -> bool:
    """Whether JSON (``application/json`` or ``application/problem+json``) is preferred to text."""
    if accept is None:
        return False
    weights = dict(_weighted(member) for member in accept.lower().split(b","))
    json = max(_quality(weights, b"application/json"), _quality(weights, b"application/problem+json"))
    return json > _quality(weights, b"text/plain")


def wants_html(accept: bytes | None) -> bool:
    """Whether a page is wanted: ``text/html`` is named, and nothing else of ours preferred to it."""
    if accept is None or b"html" not in accept.lower():
        return False
    weights = dict(_weighted(member) for member in accept.lower().split(b","))
    others = max(_quality(weights, b"text/plain"), _quality(weights, b"application/json"))
    return 0.0 < weights.get(b"text/html", 0.0) >= others


@dataclass(frozen=True, slots=True)
class Codings:
    """Whether `gzip` and `identity`, which is no coding, will do; and whether gzip is `preferred`."""

    gzip: bool
    identity: bool
    preferred: bool


def codings(accept_encoding: bytes | None) -> Codings:
    """Which codings will do (section 12.5.3). Nothing said is taken for identity: who wants more says so."""
    if accept_encoding is None:
        return Codings(gzip=False, identity=True, preferred=False)
    weights = dict(_weighted(member) for member in accept_encoding.lower().split(b","))
    rest = weights.get(b"*")
    gzip = weights.get(b"gzip", weights.get(b"x-gzip", rest or 0.0))
    return Codings(
        gzip=gzip > 0.0,
        identity=weights.get(b"identity", rest) != 0.0,
        preferred=gzip > 0.0 and gzip >= weights.get(b"identity", 0.0),
    )


def _weighted(member: bytes) -> tuple[bytes, float]:
    """A media range and its weight. Parameters other than q don't matter here."""
    media, *parameters = (part.strip(b" \t") for part in member.split(b";"))
    for parameter in parameters:
        if parameter.startswith(b"q="):
            return media, float(parameter[2:]) if _WEIGHT.fullmatch(parameter[2:]) else 0.0
    return media, 1.0


def _quality(weights: dict[bytes, float], media: bytes) -> float:
    """The weight of `media`: that of the most specific range that covers it."""
    family = media.partition(b"/")[0] + b"/*"
    for covering in (media, family, b"*/*"):
        if covering in weights:
            return weights[covering]
    return 0.0


_WEIGHT = re.compile(rb"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
