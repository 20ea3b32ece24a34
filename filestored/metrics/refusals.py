"""Reasons of refused requests, as the metrics count them. Pure."""

from enum import Enum


class Refusal(Enum):
    """Reason of a refusal; the value is the label of the metric, see `label`."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    OVERLOADED = "overloaded"
    STORAGE_FULL = "storage_full"
    QUOTA = "quota"
    SUSPENDED = "suspended"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    ORIGIN = "origin"
    DIGEST_MISMATCH = "digest_mismatch"
    CONFLICT = "conflict"
    OTHER = "other"
    TOKEN = "token"  # noqa: S105  # a reason, no secret
    """The credentials are wrong, expired or malformed; counted as `UNAUTHORIZED`."""
    LINK = "link"
    """The signature of a link is wrong or expired; counted as `FORBIDDEN`."""
    NO_IMAGE = "no_image"
    """The bytes are no image, or none that is decoded; counted as `OTHER`."""
    IMAGE_TOO_LARGE = "image_too_large"
    """The image has too many pixels, or takes too long; counted as `TOO_LARGE`."""

    @property
    def label(self) -> str:
        """The value of the label ``reason``."""
        return _COUNTED_AS.get(self, self).value


_COUNTED_AS = {
    Refusal.TOKEN: Refusal.UNAUTHORIZED,
    Refusal.LINK: Refusal.FORBIDDEN,
    Refusal.NO_IMAGE: Refusal.OTHER,
    Refusal.IMAGE_TOO_LARGE: Refusal.TOO_LARGE,
}

OF_CREDENTIALS = frozenset({Refusal.TOKEN, Refusal.LINK})
"""Refusals that are also counted as refused tokens."""

OF_IMAGES = frozenset({Refusal.NO_IMAGE, Refusal.IMAGE_TOO_LARGE})
"""Refusals that are also counted as refused images."""

REASONS = tuple(each.value for each in Refusal if each not in _COUNTED_AS)
"""All values of the label ``reason``."""

MIN_REFUSAL_STATUS = 400
"""The lowest status of a refusal."""

NO_REFUSALS = frozenset({404, 499})
"""Statuses from 400 on that refuse nothing: there is no such file, or the client has left."""

_REFUSALS = {
    400: Refusal.MALFORMED,
    401: Refusal.UNAUTHORIZED,
    403: Refusal.FORBIDDEN,
    408: Refusal.TIMEOUT,
    409: Refusal.CONFLICT,
    411: Refusal.MALFORMED,
    413: Refusal.TOO_LARGE,
    414: Refusal.TOO_LARGE,
    421: Refusal.ORIGIN,
    422: Refusal.DIGEST_MISMATCH,
    431: Refusal.TOO_LARGE,
    503: Refusal.OVERLOADED,
    505: Refusal.MALFORMED,
    507: Refusal.STORAGE_FULL,
}


def refusal_of(status: int) -> Refusal | None:
    """Return the usual reason of a status, None if it refuses nothing."""
    if status < MIN_REFUSAL_STATUS or status in NO_REFUSALS:
        return None
    return _REFUSALS.get(status, Refusal.OTHER)
