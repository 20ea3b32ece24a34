"""Registration over HTTP: ``generate-token`` and ``retrieve-token``.

Both return a token to any client that knows the user name. So by default only clients on this machine are
served; the operator can open both to all clients, or close them.
"""

from collections.abc import Sequence
from enum import Enum, auto

from filestored.images.accounts import USERNAME
from filestored.interfaces import IImages, IStreamedRequest
from filestored.web.locality import is_local
from filestored.web.messages import ImagePage
from filestored.web.origins import OriginPolicy
from filestored.web.refusal import Refusal
from filestored.web.replies import reply_json


class Registration(Enum):
    """The clients that get tokens: those on this machine, all, none."""

    LOCAL = auto()
    OPEN = auto()
    OFF = auto()


class Admission:
    """Decides whether a request may get a token. Web pages of other sites never may."""

    def __init__(self, origins: OriginPolicy, registration: Registration) -> None:
        self._origins = origins
        self._registration = registration

    def check(self, request: IStreamedRequest) -> None:
        """Raise `Refusal` (403) unless the client may get a token."""
        if self._registration is Registration.OFF:
            raise Refusal(403, "This server hands out no tokens over HTTP; ask its operator for one.")
        self._origins.check_site(request)
        if self._registration is Registration.LOCAL and not is_local(request):
            raise Refusal(
                403,
                "Tokens are handed out on the server's own machine only, straight to a loopback address or a"
                " Unix socket and not through a proxy; the operator can use the command filestored account,"
                " or change that with --open-registration.",
            )


class AccountPage(ImagePage):
    """A page about the account `username`."""

    def __init__(self, images: IImages, username: bytes, admission: Admission) -> None:
        super().__init__()
        self._images = images
        self._username = username.decode("utf-8", "replace")
        self._admission = admission


class GenerateToken(AccountPage):
    """``generate-token/<username>/``."""

    allowedMethods: Sequence[bytes] = (b"GET",)

    async def render_GET(self, request: IStreamedRequest) -> None:
        """201 and the token of a new account; 409 when there is one of that name; 400 for a bad name."""
        self._admission.check(request)
        if not USERNAME.fullmatch(self._username):
            raise Refusal(400, "A user name has 1 to 64 letters A to Z, a to z, digits and underscores")
        reply_json(request, 201, {"token": await self._images.register(self._username)})


class RetrieveToken(AccountPage):
    """``retrieve-token/<username>/``."""

    async def render_GET(self, request: IStreamedRequest) -> None:
        """200 and the token of an account; 404 when there is none."""
        self._admission.check(request)
        token = await self._images.token_of(self._username)
        reply_json(request, 200, {self._username: token})

    render_HEAD = render_GET
