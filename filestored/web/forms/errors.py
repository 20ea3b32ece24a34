"""Errors of forms."""

from filestored.web.errors import HTTPError


def malformed_form() -> HTTPError:
    """Return the error for a form that cannot be cut into its parts, or not by all readers alike."""
    return HTTPError(400, "The form is malformed.")


def form_beyond_limits() -> HTTPError:
    """Return the error for a form that exceeds a limit other than the size of a file."""
    return HTTPError(413, "The form has too many parts, or a field or part header that is too large.")
