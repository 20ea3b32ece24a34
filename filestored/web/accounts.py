"""Tokens over the wire: made, told again, renewed.

To make an account and to tell its token is for whoever is on this machine, unless the operator has
opened registration: both hand a token to everybody who names the user.
"""

from collections.abc import Sequence

from filestored.images.accounts import USERNAME
from filestored.interfaces import IImages, IStreamedRequest
from filestored.web.locality import is_local
from filestored.web.messages import ImagePage
from filestored.web.refusal import Refusal
from filestored.web.replies import reply_json


class AccountPage(ImagePage):
    """A page about the account `username`; only for this machine, unless registration is `open`."""

    def __init__(self, images: IImages, username: bytes, *, is_open: bool) -> None:
        super().__init__()
        self._images = images
        self._username = username.decode("utf-8", "replace")
        self._is_open = is_open

    def _admit(self, request: IStreamedRequest) -> None:
        """Raise `Refusal` unless whoever asks may have tokens."""
        if not self._is_open and not is_local(request):
            raise Refusal(
                403,
                "Tokens are handed out on the server's own machine only, straight to a loopback address or a"
                " Unix socket; the operator can change that with --open-registration.",
            )


class GenerateToken(AccountPage):
    """``generate-token/<username>/``."""

    allowedMethods: Sequence[bytes] = (b"GET",)

    async def render_GET(self, request: IStreamedRequest) -> None:
        """201 and the token of a new account; 409 when there is one of that name; 400 for a bad name."""
        self._admit(request)
        if not USERNAME.fullmatch(self._username):
            raise Refusal(400, "A user name has 1 to 64 letters A to Z, a to z, digits and underscores")
        reply_json(request, 201, {"token": await self._images.register(self._username)})


class RetrieveToken(AccountPage):
    """``retrieve-token/<username>/``."""

    async def render_GET(self, request: IStreamedRequest) -> None:
        """200 and the token of an account; 404 when there is none."""
        self._admit(request)
        token = await self._images.token_of(self._username)
        reply_json(request, 200, {self._username: token})

    render_HEAD = render_GET
