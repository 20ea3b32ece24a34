"""Routes of the image API below ``/imageapi/``.

generate-token/<username>/             a new account
retrieve-token/<username>/             its token
token/<token>/regenerate-token/        a new token for it
token/<token>/upload-image/            a new image
token/<token>/get-image/<id>/          an image, or a thumbnail of it
token/<token>/get-image-list/          all names and ids
token/<token>/update-image/<id>/       new content for an id
token/<token>/delete-image/<id>/       deletion of an image

Each path ends with a slash; everything else is 404.
"""

from twisted.web.resource import Resource

from filestored.http.parser.forwarded import TrustedProxies
from filestored.interfaces import IImageStore, IStreamedRequest, IThumbnails
from filestored.web.imageapi.images import (
    DeleteImage,
    GetImage,
    ImageList,
    RegenerateToken,
    UpdateImage,
    UploadImage,
)
from filestored.web.imageapi.resource import ImageApiNotFound
from filestored.web.imageapi.stream_limit import StreamLimit
from filestored.web.imageapi.tokens import GenerateToken, RegistrationPolicy, RetrieveToken, TokenAccess
from filestored.web.origins import OriginPolicy


class ImageApi(Resource):
    """The tree below ``/imageapi/``; `registration` and `origins` restrict the calls that return tokens.

    So do `trusted_proxies`, whose clients are not on this machine.
    """

    isLeaf = True

    def __init__(
        self,
        images: IImageStore,
        origins: OriginPolicy,
        *,
        registration: RegistrationPolicy = RegistrationPolicy.LOCAL,
        thumbnails: IThumbnails | None = None,
        trusted_proxies: TrustedProxies | None = None,
    ) -> None:
        super().__init__()
        self._images = images
        self._access = TokenAccess(origins, registration, trusted_proxies)
        self._thumbnails = thumbnails
        self._streams = StreamLimit()

    def render(self, request: IStreamedRequest) -> object:
        """Render the resource of the path."""
        return self._resource(request.postpath).render(request)

    def _resource(self, path: list[bytes]) -> Resource:
        match path:
            case [b"generate-token", username, b""]:
                return GenerateToken(self._images, username, self._access)
            case [b"retrieve-token", username, b""]:
                return RetrieveToken(self._images, username, self._access)
            case [b"token", token, *rest]:
                return self._gallery_resource(token, rest)
        return ImageApiNotFound()

    def _gallery_resource(self, token: bytes, path: list[bytes]) -> Resource:
        match path:
            case [b"regenerate-token", b""]:
                return RegenerateToken(self._images, token)
            case [b"upload-image", b""]:
                return UploadImage(self._images, token)
            case [b"get-image", image_id, b""]:
                return GetImage(self._images, self._thumbnails, self._streams, token, image_id)
            case [b"get-image-list", b""]:
                return ImageList(self._images, token)
            case [b"update-image", image_id, b""]:
                return UpdateImage(self._images, token, image_id)
            case [b"delete-image", image_id, b""]:
                return DeleteImage(self._images, token, image_id)
        return ImageApiNotFound()
