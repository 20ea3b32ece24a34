"""The images of an account over the wire: what can be done with a token.

Each page knows the token of its path and gives it up for a gallery; from then on it is of no interest.
That comes first, before anything of a body is read.
"""

from collections.abc import Sequence

from multipart import parse_options_header
from twisted.internet.defer import CancelledError

from filestored.interfaces import IGallery, IImageStore, IImageUpload, IStreamedRequest, IThumbnails
from filestored.web.errors import HTTPError, client_left
from filestored.web.headers.values import single_header
from filestored.web.imageapi.image_download import render_thumbnail, send_image, wants_thumbnail
from filestored.web.imageapi.resource import ImageApiResource
from filestored.web.imageapi.stream_limit import Streams
from filestored.web.resource import reply_json
from filestored.web.upload import UploadHeaders, extract_file, refuse_too_large


class GalleryResource(ImageApiResource):
    """A page behind the token `token`; `identity` is that of an image, where the path names one."""

    def __init__(self, images: IImageStore, token: bytes, identity: bytes = b"") -> None:
        super().__init__()
        self._images = images
        self._token = token
        self._identity = identity.decode("ascii", "replace")

    async def _authenticate(self) -> IGallery:
        return await self._images.authenticate(self._token.decode("ascii", "replace"))

    async def _take_in(self, request: IStreamedRequest, form: UploadHeaders, upload: IImageUpload) -> str:
        """The id of the image that the first file of the form has become.

        Decoding ends when the client leaves, also when it closes its sending side only.
        """
        request.when_left(upload.abandon)
        try:
            await extract_file(request.body, form, upload, self._images.max_size, upload.begin)
            return await upload.commit()
        except CancelledError:
            raise client_left() from None
        finally:
            upload.abort()  # after a commit there is nothing left to drop

    def _form_of(self, request: IStreamedRequest) -> UploadHeaders:
        """What the head says of the body. Raises `HTTPError` unless that is a form."""
        kind, _ = parse_options_header((single_header(request, b"content-type") or b"").decode("latin-1"))
        if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
            raise HTTPError(415, "Send the image as a file in a form: multipart/form-data")
        announcement = UploadHeaders.of(request)
        if announcement.boundary is None:
            raise HTTPError(400, "There is no file in the form; send it as multipart/form-data")
        refuse_too_large(request.body, self._images.max_size)
        return announcement


class UploadImage(GalleryResource):
    """``token/<token>/upload-image/``."""

    allowedMethods: Sequence[bytes] = (b"POST",)

    async def render_POST(self, request: IStreamedRequest) -> None:
        """201 and the id; 401, 406, 409, 400, 415."""
        gallery = await self._authenticate()
        form = self._form_of(request)
        identity = await self._take_in(request, form, await gallery.upload())
        reply_json(request, 201, {"File ID": identity})


class UpdateImage(GalleryResource):
    """``token/<token>/update-image/<id>/``."""

    allowedMethods = (b"PATCH",)

    async def render_PATCH(self, request: IStreamedRequest) -> None:
        """200, and the id means the new image; 401, 404, 406, 409, 400, 415, and the old one is as it was."""
        gallery = await self._authenticate()
        form = self._form_of(request)
        await self._take_in(request, form, await gallery.upload(self._identity))
        reply_json(request, 200, "Image updated")


class GetImage(GalleryResource):
    """``token/<token>/get-image/<id>/``; with a width or a height in the query, a thumbnail."""

    def __init__(
        self,
        images: IImageStore,
        thumbnails: IThumbnails | None,
        streams: Streams,
        token: bytes,
        identity: bytes,
    ) -> None:
        super().__init__(images, token, identity)
        self._thumbnails = thumbnails
        self._streams = streams

    async def render_GET(self, request: IStreamedRequest) -> None:
        """200, 206 or 304 and the image, packed if the client likes that; 401, 404, 406, 412, 416."""
        gallery = await self._authenticate()
        if not wants_thumbnail(request):
            await send_image(gallery, self._identity, request, self._streams)
        elif self._thumbnails is None:
            raise HTTPError(501, "This server makes no thumbnails; they need the extra filestored[images]")
        else:
            _, blob = await gallery.open(self._identity, gzipped=lambda _: False)
            await render_thumbnail(request, blob, self._thumbnails, gallery.owner)

    render_HEAD = render_GET


class ImageList(GalleryResource):
    """``token/<token>/get-image-list/``."""

    async def render_GET(self, request: IStreamedRequest) -> None:
        """200 and the ids of all images by their names; 401."""
        gallery = await self._authenticate()
        listing = gallery.list_images()
        request.notifyFinish().addErrback(lambda _: listing.cancel())  # the client has left
        reply_json(request, 200, await listing)

    render_HEAD = render_GET


class DeleteImage(GalleryResource):
    """``token/<token>/delete-image/<id>/``."""

    allowedMethods = (b"DELETE",)

    async def render_DELETE(self, request: IStreamedRequest) -> None:
        """200 and gone; 401, 404."""
        gallery = await self._authenticate()
        await gallery.delete(self._identity)
        reply_json(request, 200, "Image deleted")


class RegenerateToken(GalleryResource):
    """``token/<token>/regenerate-token/``."""

    allowedMethods = (b"POST",)

    async def render_POST(self, request: IStreamedRequest) -> None:
        """200 and the new token, the old one being dead; 401."""
        gallery = await self._authenticate()
        reply_json(request, 200, {"token": await gallery.regenerate_token()})
