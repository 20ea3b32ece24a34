"""Image resources: upload, list, get, update and delete the images of an account; regenerate its token.

Each resource first authenticates with the token of its path, before the body is read.
"""

from collections.abc import Sequence

from twisted.internet.defer import CancelledError

from filestored.interfaces import IGallery, IImageStore, IImageUpload, IStreamedRequest, IThumbnails
from filestored.web.errors import Field, HTTPError, client_disconnected
from filestored.web.headers.values import single_header
from filestored.web.imageapi.image_download import send_image, send_thumbnail, wants_thumbnail
from filestored.web.imageapi.resource import ImageApiResource
from filestored.web.imageapi.stream_limit import StreamLimit
from filestored.web.resource import reply_json
from filestored.web.upload import UploadHeaders, check_form_size, extract_file

FORM = b"multipart/form-data"
"""The media type of uploads."""

_ACCEPT: Field = (b"Accept", FORM)  # RFC 9110 section 15.5.16


class GalleryResource(ImageApiResource):
    """A resource of the account with `token`, and of the image `image_id` if the path has it."""

    accepted: tuple[Field, ...] = ()
    """Header fields of a 415 that name the accepted media type."""

    def __init__(self, images: IImageStore, token: bytes, image_id: bytes = b"") -> None:
        super().__init__()
        self._images = images
        self._token = token
        self._image_id = image_id.decode("ascii", "replace")

    async def _authenticate(self) -> IGallery:
        return await self._images.authenticate(self._token.decode("ascii", "replace"))

    async def _receive_image(
        self, request: IStreamedRequest, headers: UploadHeaders, upload: IImageUpload
    ) -> str:
        """Store the first file of the form; return the id of the image.

        Decoding is cancelled when the client disconnects or closes its sending side.
        """
        request.on_disconnect(upload.abandon)
        try:
            await extract_file(request.body, headers, upload, self._images.max_size, upload.begin)
            return await upload.commit()
        except CancelledError:
            raise client_disconnected() from None
        finally:
            upload.abort()  # no effect after a commit

    def _require_form(self, request: IStreamedRequest) -> UploadHeaders:
        """Return the headers of a form. Raises `HTTPError`: 415 for other content, 400 without a file.

        HTTP libraries send a form without a file as ``application/x-www-form-urlencoded``.
        """
        media_type = (single_header(request, b"content-type") or b"").strip().lower()
        if not media_type.startswith((b"multipart/form", b"application/x-www-form-urlencoded")):
            raise HTTPError(415, "Send the image as a file in a form: multipart/form-data", *self.accepted)
        headers = UploadHeaders.of(request)
        if headers.boundary is None:
            raise HTTPError(400, "There is no file in the form; send it as multipart/form-data")
        check_form_size(request.body, self._images.max_size)
        return headers


class UploadImage(GalleryResource):
    """``token/<token>/upload-image/``."""

    allowedMethods: Sequence[bytes] = (b"POST",)
    accepted = (_ACCEPT, (b"Accept-Post", FORM))

    async def render_POST(self, request: IStreamedRequest) -> None:
        """201, the id and its address; 401, 406, 409, 400, 413, 415."""
        gallery = await self._authenticate()
        headers = self._require_form(request)
        image_id = await self._receive_image(request, headers, await gallery.upload())
        location = b"/imageapi/token/%s/get-image/%s/" % (self._token, image_id.encode("ascii"))
        reply_json(request, 201, {"File ID": image_id}, headers=[(b"Location", location)])


class UpdateImage(GalleryResource):
    """``token/<token>/update-image/<id>/``."""

    allowedMethods = (b"PATCH",)
    accepted = (_ACCEPT, (b"Accept-Patch", FORM))  # RFC 5789 section 2.2

    async def render_PATCH(self, request: IStreamedRequest) -> None:
        """200, and the id refers to the new image; 401, 404, 406, 409, 400, 413, 415 without any change."""
        gallery = await self._authenticate()
        headers = self._require_form(request)
        await self._receive_image(request, headers, await gallery.upload(self._image_id))
        reply_json(request, 200, "Image updated")


class GetImage(GalleryResource):
    """``token/<token>/get-image/<id>/``; a thumbnail if the query has a width or a height."""

    def __init__(
        self,
        images: IImageStore,
        thumbnails: IThumbnails | None,
        streams: StreamLimit,
        token: bytes,
        image_id: bytes,
    ) -> None:
        super().__init__(images, token, image_id)
        self._thumbnails = thumbnails
        self._streams = streams

    async def render_GET(self, request: IStreamedRequest) -> None:
        """200, 206 or 304 and the image, gzipped if the client prefers it; 401, 404, 406, 412, 416."""
        gallery = await self._authenticate()
        if not wants_thumbnail(request):
            await send_image(gallery, self._image_id, request, self._streams)
        elif self._thumbnails is None:
            raise HTTPError(501, "This server makes no thumbnails; they need Pillow: pip install '.[images]'")
        else:
            _, blob = await gallery.open(self._image_id, gzipped=lambda _: False, wanted=None)
            await send_thumbnail(request, blob, self._thumbnails, gallery.owner)

    render_HEAD = render_GET


class ImageList(GalleryResource):
    """``token/<token>/get-image-list/``."""

    async def render_GET(self, request: IStreamedRequest) -> None:
        """200 and the ids of all images by name; 401."""
        gallery = await self._authenticate()
        listing = gallery.list_images()
        request.notifyFinish().addErrback(lambda _: listing.cancel())  # the client has disconnected
        reply_json(request, 200, await listing)

    render_HEAD = render_GET


class DeleteImage(GalleryResource):
    """``token/<token>/delete-image/<id>/``."""

    allowedMethods = (b"DELETE",)

    async def render_DELETE(self, request: IStreamedRequest) -> None:
        """200 after the deletion; 401, 404."""
        gallery = await self._authenticate()
        await gallery.delete(self._image_id)
        reply_json(request, 200, "Image deleted")


class RegenerateToken(GalleryResource):
    """``token/<token>/regenerate-token/``."""

    allowedMethods = (b"POST",)

    async def render_POST(self, request: IStreamedRequest) -> None:
        """200 and the new token, which invalidates the former one; 401."""
        gallery = await self._authenticate()
        reply_json(request, 200, {"token": await gallery.regenerate_token()})
