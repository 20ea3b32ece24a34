"""Content negotiation: `Accept` and `Accept-Encoding` (RFC 9110 section 12.5).

In: the value of a header. Out: whether JSON or HTML is preferred, or which content codings are acceptable.
Text is the default, also at equal weights. JSON needs a higher weight than text. HTML must be named:
``*/*``, which most tools send, does not select the page.
"""

import re
from dataclasses import dataclass


def wants_json(accept: bytes | None) -> bool:
    """Return whether JSON (``application/json`` or ``application/problem+json``) is preferred to text."""
    if accept is None:
        return False
    accept = accept.lower()
    if b"application/" not in accept and b"q=" not in accept:
        return False  # each range that covers JSON covers text, with the same weight
    weights = dict(_weighted(member) for member in accept.split(b","))
    json = max(_quality(weights, b"application/json"), _quality(weights, b"application/problem+json"))
    return json > _quality(weights, b"text/plain")


def wants_html(accept: bytes | None) -> bool:
    """Return whether ``text/html`` is named, and neither text nor JSON preferred to it."""
    if accept is None or b"html" not in accept.lower():
        return False
    weights = dict(_weighted(member) for member in accept.lower().split(b","))
    others = max(_quality(weights, b"text/plain"), _quality(weights, b"application/json"))
    return 0.0 < weights.get(b"text/html", 0.0) >= others


def wants_ndjson(accept: bytes | None) -> bool:
    """Return whether ``application/x-ndjson`` is named, and JSON is not preferred to it."""
    if accept is None or b"ndjson" not in accept.lower():
        return False
    weights = dict(_weighted(member) for member in accept.lower().split(b","))
    return 0.0 < weights.get(b"application/x-ndjson", 0.0) >= weights.get(b"application/json", 0.0)


@dataclass(frozen=True, slots=True)
class Codings:
    """Acceptable codings: `gzip` and `identity`, which is none; `preferred` if gzip is not the worse one."""

    gzip: bool
    identity: bool
    preferred: bool


def codings(accept_encoding: bytes | None) -> Codings:
    """Return the acceptable content codings (section 12.5.3); identity only, if there is no header."""
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
    """Return a media range and its weight; parameters other than q are ignored."""
    media, *parameters = (part.strip(b" \t") for part in member.split(b";"))
    for parameter in parameters:
        if parameter.startswith(b"q="):
            return media, float(parameter[2:]) if _WEIGHT.fullmatch(parameter[2:]) else 0.0
    return media, 1.0


def _quality(weights: dict[bytes, float], media: bytes) -> float:
    """Return the weight of the most specific range that covers `media`."""
    family = media.partition(b"/")[0] + b"/*"
    for covering in (media, family, b"*/*"):
        if covering in weights:
            return weights[covering]
    return 0.0


_WEIGHT = re.compile(rb"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
