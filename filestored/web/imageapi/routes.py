"""The image API on one page.

generate-token/<username>/             a new account
retrieve-token/<username>/             its token, again
token/<token>/regenerate-token/        another token for it
token/<token>/upload-image/            a new image
token/<token>/get-image/<id>/          an image, or a thumbnail of it
token/<token>/get-image-list/          all names and ids
token/<token>/update-image/<id>/       another image under the same id
token/<token>/delete-image/<id>/       no image under that id

The slash at the end is part of each path; everything else is 404.
"""

from twisted.web.resource import Resource

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
from filestored.web.imageapi.stream_limit import Streams
from filestored.web.imageapi.tokens import AdmissionControl, GenerateToken, Registration, RetrieveToken
from filestored.web.origins import OriginPolicy


class ImageApi(Resource):
    """The tree below ``/imageapi/``; `registration` and `origins` restrict the calls that return tokens."""

    isLeaf = True

    def __init__(
        self,
        images: IImageStore,
        origins: OriginPolicy,
        *,
        registration: Registration = Registration.LOCAL,
        thumbnails: IThumbnails | None = None,
    ) -> None:
        super().__init__()
        self._images = images
        self._admission = AdmissionControl(origins, registration)
        self._thumbnails = thumbnails
        self._streams = Streams()

    def render(self, request: IStreamedRequest) -> object:
        """Have the page that the path names answer."""
        return self._page(request.postpath).render(request)

    def _page(self, path: list[bytes]) -> Resource:
        match path:
            case [b"generate-token", username, b""]:
                return GenerateToken(self._images, username, self._admission)
            case [b"retrieve-token", username, b""]:
                return RetrieveToken(self._images, username, self._admission)
            case [b"token", token, *rest]:
                return self._gallery_page(token, rest)
        return ImageApiNotFound()

    def _gallery_page(self, token: bytes, path: list[bytes]) -> Resource:
        match path:
            case [b"regenerate-token", b""]:
                return RegenerateToken(self._images, token)
            case [b"upload-image", b""]:
                return UploadImage(self._images, token)
            case [b"get-image", identity, b""]:
                return GetImage(self._images, self._thumbnails, self._streams, token, identity)
            case [b"get-image-list", b""]:
                return ImageList(self._images, token)
            case [b"update-image", identity, b""]:
                return UpdateImage(self._images, token, identity)
            case [b"delete-image", identity, b""]:
                return DeleteImage(self._images, token, identity)
        return ImageApiNotFound()
